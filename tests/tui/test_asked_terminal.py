"""What a terminal answers at the start, and what is typed meanwhile."""

import os
import pty
import subprocess
import sys

import pytest

from mmtui.tui.terminal import ATTRIBUTES, Terminal, understood

KITTY, CELL = "\x1b_Gi=31;OK\x1b\\", "\x1b[6;20;10t"
ASK = "from mmtui.tui.terminal import ask; print('told', tuple(ask()))"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("", Terminal(answered=False)),
        ("Why \x1b[?62;22c", Terminal(typed="Why ")),
        (f"a{KITTY}b\x1b[?62;", Terminal("kitty", "ab", answered=False)),
        ("a\x1b_Gi=31;O", Terminal(typed="a", answered=False)),
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
    assert understood(said) == meant


def _asked(answer: str) -> str:
    """What a process is told by a terminal with this answer."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ASK], stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    seen = b""
    while ATTRIBUTES.encode() not in seen:
        seen += os.read(ours, 4096)
    os.write(ours, answer.encode())
    while b"told" not in seen or not seen.endswith(b"\n"):
        seen += os.read(ours, 4096)
    process.wait()
    os.close(ours)
    return seen.decode().rpartition("told")[2].strip()


def test_a_terminal_that_answers_is_understood_and_loses_no_key():
    assert _asked(f"Wh{KITTY}y{CELL}\x1b[?62;22c") == "('kitty', 'Why', (10, 20), True)"


def test_a_terminal_that_does_not_answer_draws_blocks_and_keeps_the_keys():
    assert _asked("Why") == "('blocks', 'Why', None, False)"


def test_without_a_terminal_nothing_is_asked():
    run = subprocess.run(
        [sys.executable, "-c", ASK],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    assert run.stdout == "told ('blocks', '', None, True)\n"
