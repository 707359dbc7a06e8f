"""What a terminal answers at the start, and what is typed meanwhile."""

import os
import pty
import subprocess
import sys

import pytest
from user import awaited, opened

from mmtui.frontends.tui.input_parser import TerminalResponded
from mmtui.frontends.tui.terminal import ATTRIBUTES, Terminal, parse_responses

KITTY, CELL = "\x1b_Gi=31;OK\x1b\\", "\x1b[6;20;10t"
ASK = """
from mmtui.frontends.tui.terminal import query, quiet_keyboard
with quiet_keyboard():
    print('told', tuple(query()))
"""


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("", Terminal(answered=False)),
        ("Why \x1b[?62;22c", Terminal(typed="Why ")),
        (f"a{KITTY}b\x1b[?62;", Terminal("kitty", "ab", None, False, "\x1b[?62;")),
        ("a\x1b_Gi=31;O", Terminal("blocks", "a", None, False, "\x1b_Gi=31;O")),
        ("\x1b[?62;4;22c", Terminal("sixel")),
        ("\x1b[?62;22c", Terminal()),
        ("\x1b[?64;40c", Terminal()),
        (f"{KITTY}{CELL}\x1b[?62c", Terminal("kitty", "", (10, 20))),
        (f"{KITTY}\x1b[?62;4c", Terminal("sixel")),  # some that claim both draw only this well
        ("\x1b_Gi=31;EINVAL:no\x1b\\\x1b[?62c", Terminal()),
        (f"hi{KITTY} th\x1b[Aere\x1b[?62c\x07!\r", Terminal("kitty", "hi there!")),
    ],
)
def test_answers_are_told_from_what_is_typed(said, meant):
    assert parse_responses(said) == meant


def _asked(answer: str, term: str = "xterm-256color") -> tuple[str, str]:
    """What a terminal with this answer is asked, and what a process finds out."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("TMUX", "STY")}
    process = subprocess.Popen(
        [sys.executable, "-c", ASK], stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL,
        env=environment | {"TERM": term},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while ATTRIBUTES.encode() not in seen:
        seen += os.read(ours, 4096)
    os.write(ours, answer.encode())
    while b"told" not in seen or not seen.endswith(b"\n"):
        seen += os.read(ours, 4096)
    process.wait()
    os.close(ours)
    asked, _, found = seen.decode().rpartition("told")
    return asked, found.strip()


def test_a_terminal_that_answers_is_understood_and_loses_no_key():
    asked, found = _asked(f"Wh{KITTY}y{CELL}\x1b[?62;22c")
    assert found == "('kitty', 'Why', (10, 20), True, '')"
    assert asked.endswith(ATTRIBUTES)  # nothing is echoed


def test_a_terminal_that_does_not_answer_draws_blocks_and_keeps_the_keys():
    assert _asked("Why")[1] == "('blocks', 'Why', None, False, '')"


def test_tmux_and_screen_are_not_asked_what_they_take_for_a_title():
    assert "\x1b_" in _asked("\x1b[?62c", "xterm-256color")[0]
    for name in ("screen-256color", "tmux-256color"):
        assert "\x1b_" not in _asked("\x1b[?62c", name)[0]


def test_late_answers_tell_what_can_be_drawn():
    terminal = Terminal(answered=False).updated(KITTY)
    assert terminal.drawing == "kitty" and not terminal.answered
    terminal = terminal.updated(f"{CELL}\x1b[?62c")
    assert terminal == Terminal("kitty", "", (10, 20))
    assert terminal.updated("\x1b[?62;4c").drawing == "sixel"


@awaited
async def test_the_chat_draws_better_after_a_late_answer(tmp_path):
    async with opened(tmp_path) as user:
        user.app.post_message(TerminalResponded(KITTY))
        await user.settle()
        assert user.app.terminal.drawing == "kitty"
        assert user.composer.text == ""


def test_without_a_terminal_nothing_is_asked():
    run = subprocess.run(
        [sys.executable, "-c", ASK],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    assert run.stdout == "told ('blocks', '', None, True, '')\n"
