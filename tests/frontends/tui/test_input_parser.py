"""Parsing keys and responses of the terminal between them, as over a slow connection."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from textual import constants
from textual._xterm_parser import XTermParser
from textual.events import Key, MouseDown, Paste

from mmtui.chat.history.history import History
from mmtui.frontends.tui import input_parser
from mmtui.frontends.tui.input_parser import InputParser, TerminalResponded
from mmtui.frontends.tui.terminal import ATTRIBUTES_QUERY

RESPONSES = {
    "kitty graphics": "\x1b_Gi=31;OK\x1b\\",
    "kitty graphics refused": "\x1b_Gi=31;ENOTSUPPORTED: no such thing\x1b\\",
    "size of a cell": "\x1b[6;20;10t",
    "size in pixels": "\x1b[4;800;1200t",
    "attributes": "\x1b[?62;4;22c",
    "more attributes": "\x1b[>0;276;0c",
    "foreground": "\x1b]10;rgb:ffff/ffff/ffff\x1b\\",
    "background": "\x1b]11;rgb:0000/0000/0000\x07",
    "cursor": "\x1b[12;40R",
    "extended cursor": "\x1b[?12;40;1R",
    "mode": "\x1b[?2026;2$y",
    "status": "\x1b[0n",
    "colour scheme": "\x1b[?997;1n",
    "keyboard": "\x1b[?0u",
    "version": "\x1bP>|XTerm(370)\x1b\\",
    "capability": "\x1bP1+r524742=38\x1b\\",
}
KEYS = [
    "\x1b", "\x1b\x1b", "\x1bx", "\x1b_", "\x1b_Gx", "\x1b_Gi", "\x1b[", "\x1b]", "\x1b]1", "\x1bP",
    "\x1bPa", "\x1bOP", "\x1b[A", "\x1b[1;5C", "\x1b[15~", "\x1b[97;5u", "\x1b[200~a\x1b[201~",
    "\x1b[<0;3;4M", "a_b[c",
]  # fmt: skip


@pytest.fixture(autouse=True)
def disable_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_parser, "PARTIAL_TIMEOUT_S", 0.0)
    monkeypatch.setattr(constants, "ESCAPE_DELAY", 0.0)


def feed(parser: XTermParser, *reads: str) -> list:
    return [message for read in reads for message in parser.feed(read)]


def get_typed(messages: list) -> str:
    return "".join(message.character or "" for message in messages if isinstance(message, Key))


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_is_not_typed_however_it_is_split(name):
    response = RESPONSES[name]
    assert get_typed(feed(InputParser(), f"ab{response}cd{response}{response}ef")) == "abcdef"
    for at in range(1, len(response)):
        assert get_typed(feed(InputParser(), f"ab{response[:at]}", f"{response[at:]}cd")) == "abcd"
    assert get_typed(feed(InputParser(), "ab", *response, "cd")) == "abcd"


def test_responses_are_posted_as_messages():
    messages = feed(InputParser(), f"a{RESPONSES['kitty graphics']}b{RESPONSES['attributes']}")
    responded = [message for message in messages if isinstance(message, TerminalResponded)]
    assert (
        "".join(message.responses for message in responded)
        == RESPONSES["kitty graphics"] + RESPONSES["attributes"]
    )


@pytest.mark.parametrize("sequence", KEYS)
def test_keys_are_parsed_as_textual_does(sequence):
    def parse(parser: XTermParser, *reads: str) -> list:
        messages = [*feed(parser, *reads), *parser.tick(), *feed(parser, "z")]
        return [
            (type(message), getattr(message, "key", None), getattr(message, "text", None))
            for message in messages
            if isinstance(message, Key | Paste | MouseDown)
        ]

    expected = parse(XTermParser(), sequence)
    assert expected and parse(InputParser(), sequence) == expected
    if sequence.startswith("\x1b["):
        assert parse(InputParser(), *sequence) == expected  # in pieces, too


@pytest.mark.parametrize(
    "start", ["\x1b_Gi=31;O", "\x1b[?62;", "\x1b]11;rgb:ff", "\x1b[6;20", "\x1bP>|X"]
)
def test_a_response_that_never_ends_is_discarded(start):
    parser = InputParser()
    feed(parser, f"a{start}")
    assert not list(parser.tick())
    assert get_typed(feed(parser, "bc")) == "bc"


def test_input_that_was_read_before_the_parser_existed_is_not_lost(monkeypatch):
    monkeypatch.setattr(InputParser, "initial_input", "\x1b_Gi=31;O")
    assert get_typed(feed(InputParser(), "K\x1b\\ab")) == "ab"
    assert get_typed(feed(InputParser(), "K")) == "K"  # only the first parser gets it


def test_late_responses_do_not_get_into_the_prompt(tmp_path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [Path(sys.executable).with_name("mmtui"), "--model", str(tmp_path / "none")],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color", "XDG_DATA_HOME": str(tmp_path)},
    )  # fmt: skip
    os.close(theirs)
    output = b""

    def read_until(text: bytes) -> None:
        nonlocal output
        while text not in output:
            output += os.read(ours, 65536)

    try:
        read_until(ATTRIBUTES_QUERY.encode())
        read_until(b"Ask something")
        for response in RESPONSES.values():
            os.write(ours, response.encode())
        os.write(ours, b"and a word")
        read_until(b"and a word")
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    text = re.sub(rb"\x1b\[[\d;?]*[a-zA-Z]", b"", output).decode()
    assert "│ and a word" in text


@pytest.mark.parametrize("gets_sighup", [True, False])
def test_a_chat_ends_when_its_terminal_is_closed(tmp_path, gets_sighup):
    """For example because an SSH connection or the window of the terminal was closed."""
    ours, theirs = pty.openpty()
    command = [Path(sys.executable).with_name("mmtui"), "--model", str(tmp_path / "none")]
    process = subprocess.Popen(
        ["setsid", "--ctty", *command] if gets_sighup else command,
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=not gets_sighup,
        env={**os.environ, "TERM": "xterm-256color", "XDG_DATA_HOME": str(tmp_path)},
    )  # fmt: skip
    os.close(theirs)
    output = b""
    while b"Ask something" not in output:
        output += os.read(ours, 65536)
    os.write(ours, b"half a message")
    while b"half a message" not in output:
        output += os.read(ours, 65536)
    os.close(ours)
    try:
        assert process.wait(timeout=60) != 0
    finally:
        process.kill()
    history = History(tmp_path / "mmtui")
    assert history.draft(history.latest()).text == "half a message"
