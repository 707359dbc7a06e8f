"""Querying the terminal at the start, while keys are pressed."""

import os
import pty
import subprocess
import sys

import pytest
from user import open_chat, run_async

from mmtui.frontends.tui.input_parser import TerminalResponded
from mmtui.frontends.tui.terminal import ATTRIBUTES_QUERY, Terminal, parse_responses

KITTY, CELL_SIZE = "\x1b_Gi=31;OK\x1b\\", "\x1b[6;20;10t"
QUERY = """
from mmtui.frontends.tui.terminal import disable_echo, query
with disable_echo():
    print('result', tuple(query()))
"""
READ_KEYS = """
import os
from mmtui.frontends.tui.terminal import ATTRIBUTES_QUERY, disable_echo
with disable_echo():
    print(ATTRIBUTES_QUERY, flush=True)
    print('result', os.read(0, 9))
"""


@pytest.mark.parametrize(
    ("data", "terminal"),
    [
        ("", Terminal(has_responded=False)),
        ("Why \x1b[?62;22c", Terminal(typed="Why ")),
        (f"a{KITTY}b\x1b[?62;", Terminal("kitty", "ab", None, False, "\x1b[?62;")),
        ("a\x1b_Gi=31;O", Terminal("blocks", "a", None, False, "\x1b_Gi=31;O")),
        ("\x1b[?62;4;22c", Terminal("sixel")),
        ("\x1b[?62;22c", Terminal()),
        ("\x1b[?64;40c", Terminal()),
        (f"{KITTY}{CELL_SIZE}\x1b[?62c", Terminal("kitty", "", (10, 20))),
        (f"{KITTY}\x1b[?62;4c", Terminal("sixel")),  # preferred to Kitty's graphics
        ("\x1b_Gi=31;EINVAL:no\x1b\\\x1b[?62c", Terminal()),
        (f"hi{KITTY} th\x1b[Aere\x1b[?62c\x07!\r", Terminal("kitty", "hi there!")),
        ("two\rlines\r\x1b[?62c", Terminal(typed="two\nlines")),
    ],
)
def test_responses_are_separated_from_keys(data, terminal):
    assert parse_responses(data) == terminal


def query_fake_terminal(
    response: str, term: str = "xterm-256color", script: str = QUERY
) -> tuple[str, str]:
    """Query a terminal with this response in a subprocess, which runs a script.

    Returns:
        The queries that the terminal got, and the result.
    """
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("TMUX", "STY")}
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL,
        env=environment | {"TERM": term},
    )  # fmt: skip
    os.close(theirs)
    output = b""
    while ATTRIBUTES_QUERY.encode() not in output:
        output += os.read(ours, 4096)
    os.write(ours, response.encode())
    while b"result" not in output or not output.endswith(b"\n"):
        output += os.read(ours, 4096)
    process.wait()
    os.close(ours)
    queries, _, result = output.decode().rpartition("result")
    return queries, result.strip()


def test_responses_are_parsed_and_no_key_is_lost():
    queries, result = query_fake_terminal(f"Wh{KITTY}y{CELL_SIZE}\x1b[?62;22c")
    assert result == "('kitty', 'Why', (10, 20), True, '')"
    assert queries.endswith(ATTRIBUTES_QUERY)  # nothing is echoed


def test_without_a_response_blocks_are_drawn_and_no_key_is_lost():
    assert query_fake_terminal("Why")[1] == "('blocks', 'Why', None, False, '')"


def test_enter_and_ctrl_q_arrive_as_keys_before_textual_reads_them():
    assert query_fake_terminal("Why\r\x11", script=READ_KEYS)[1] == repr(b"Why\r\x11")


def test_the_kitty_query_is_not_sent_to_tmux_and_screen():
    assert "\x1b_" in query_fake_terminal("\x1b[?62c", "xterm-256color")[0]
    for name in ("screen-256color", "tmux-256color"):
        assert "\x1b_" not in query_fake_terminal("\x1b[?62c", name)[0]


def test_late_responses_update_the_terminal():
    terminal = Terminal(has_responded=False).add_responses(KITTY)
    assert terminal.graphics == "kitty" and not terminal.has_responded
    terminal = terminal.add_responses(f"{CELL_SIZE}\x1b[?62c")
    assert terminal == Terminal("kitty", "", (10, 20))
    assert terminal.add_responses("\x1b[?62;4c").graphics == "sixel"


@run_async
async def test_the_chat_uses_the_graphics_of_a_late_response(tmp_path):
    async with open_chat(tmp_path) as user:
        user.app.post_message(TerminalResponded(KITTY))
        await user.settle()
        assert user.app.terminal.graphics == "kitty"
        assert user.composer.text == ""


def test_without_a_terminal_nothing_isquery_fake_terminal():
    run = subprocess.run(
        [sys.executable, "-c", QUERY],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    assert run.stdout == "result ('blocks', '', None, True, '')\n"
