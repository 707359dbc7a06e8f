"""Keys, and answers of the terminal between them, as both come over a slow line."""

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
from mmtui.frontends.tui.terminal import ATTRIBUTES

ANSWERS = {
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
TYPED = [
    "\x1b", "\x1b\x1b", "\x1bx", "\x1b_", "\x1b_Gx", "\x1b_Gi", "\x1b[", "\x1b]", "\x1b]1", "\x1bP",
    "\x1bPa", "\x1bOP", "\x1b[A", "\x1b[1;5C", "\x1b[15~", "\x1b[97;5u", "\x1b[200~a\x1b[201~",
    "\x1b[<0;3;4M", "a_b[c",
]  # fmt: skip


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_parser, "ANSWER_S", 0.0)
    monkeypatch.setattr(constants, "ESCAPE_DELAY", 0.0)


def messages(parser: XTermParser, *reads: str) -> list:
    return [message for read in reads for message in parser.feed(read)]


def typed(found: list) -> str:
    return "".join(message.character or "" for message in found if isinstance(message, Key))


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_not_typed_wherever_it_is_cut(name):
    answer = ANSWERS[name]
    assert typed(messages(InputParser(), f"ab{answer}cd{answer}{answer}ef")) == "abcdef"
    for at in range(1, len(answer)):
        assert typed(messages(InputParser(), f"ab{answer[:at]}", f"{answer[at:]}cd")) == "abcd"
    assert typed(messages(InputParser(), "ab", *answer, "cd")) == "abcd"


def test_what_was_answered_is_told():
    found = messages(InputParser(), f"a{ANSWERS['kitty graphics']}b{ANSWERS['attributes']}")
    answers = "".join(each.answers for each in found if isinstance(each, TerminalResponded))
    assert answers == ANSWERS["kitty graphics"] + ANSWERS["attributes"]


@pytest.mark.parametrize("sequence", TYPED)
def test_what_is_typed_stays_what_it_is(sequence):
    def keys(parser: XTermParser, *reads: str) -> list:
        found = [*messages(parser, *reads), *parser.tick(), *messages(parser, "z")]
        return [
            (type(each), getattr(each, "key", None), getattr(each, "text", None))
            for each in found
            if isinstance(each, Key | Paste | MouseDown)
        ]

    expected = keys(XTermParser(), sequence)
    assert expected and keys(InputParser(), sequence) == expected
    if sequence.startswith("\x1b["):
        assert keys(InputParser(), *sequence) == expected  # in pieces, too


@pytest.mark.parametrize(
    "begun", ["\x1b_Gi=31;O", "\x1b[?62;", "\x1b]11;rgb:ff", "\x1b[6;20", "\x1bP>|X"]
)
def test_of_an_answer_that_never_ends_nothing_is_typed(begun):
    parser = InputParser()
    messages(parser, f"a{begun}")
    assert not list(parser.tick())
    assert typed(messages(parser, "bc")) == "bc"


def test_what_was_read_before_there_was_a_parser_is_not_lost(monkeypatch):
    monkeypatch.setattr(InputParser, "read_before", "\x1b_Gi=31;O")
    assert typed(messages(InputParser(), "K\x1b\\ab")) == "ab"
    assert typed(messages(InputParser(), "K")) == "K"  # the next parser has nothing of it


def test_answers_that_come_late_are_not_in_the_prompt(tmp_path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [Path(sys.executable).with_name("mmtui"), "--model", str(tmp_path / "none")],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color", "XDG_DATA_HOME": str(tmp_path)},
    )  # fmt: skip
    os.close(theirs)
    seen = b""

    def read_until(what: bytes) -> None:
        nonlocal seen
        while what not in seen:
            seen += os.read(ours, 65536)

    try:
        read_until(ATTRIBUTES.encode())
        read_until(b"Ask something")
        for answer in ANSWERS.values():
            os.write(ours, answer.encode())
        os.write(ours, b"and a word")
        read_until(b"and a word")
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    shown = re.sub(rb"\x1b\[[\d;?]*[a-zA-Z]", b"", seen).decode()
    assert "│ and a word" in shown


@pytest.mark.parametrize("leads", [True, False], ids=["leader of its session", "not told"])
def test_a_chat_ends_when_its_terminal_is_gone(tmp_path, leads):
    """As the end of an SSH connection, or of a terminal's window; nobody else would end it."""
    ours, theirs = pty.openpty()
    command = [Path(sys.executable).with_name("mmtui"), "--model", str(tmp_path / "none")]
    process = subprocess.Popen(
        ["setsid", "--ctty", *command] if leads else command,
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=not leads,
        env={**os.environ, "TERM": "xterm-256color", "XDG_DATA_HOME": str(tmp_path)},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while b"Ask something" not in seen:
        seen += os.read(ours, 65536)
    os.write(ours, b"half a message")
    while b"half a message" not in seen:
        seen += os.read(ours, 65536)
    os.close(ours)
    try:
        assert process.wait(timeout=60) != 0
    finally:
        process.kill()
    history = History(tmp_path / "mmtui")
    assert history.draft(history.latest()).text == "half a message"
