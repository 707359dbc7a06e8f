"""The lines of stdin."""

import os
import pty
import sys

import pytest

from mmtui.errors import InputError
from mmtui.frontends.stdin import Lines


@pytest.fixture
def pipe(monkeypatch):
    """What is written to it comes on stdin."""

    def written(data: bytes) -> Lines:
        ours, theirs = os.pipe()
        os.write(theirs, data)
        os.close(theirs)
        monkeypatch.setattr(sys, "stdin", os.fdopen(ours))
        return Lines()

    return written


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le"])
def test_lines_come_one_by_one_in_any_encoding(pipe, encoding):
    lines = pipe("é1\n\nsecond é\nlast".encode(encoding))
    assert [lines.read() for _ in range(5)] == ["é1\n", "\n", "second é\n", "last", ""]


def test_lines_of_what_is_no_text_are_refused(pipe):
    with pytest.raises(InputError, match="a picture"):
        pipe(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").read()


def test_a_line_that_does_not_come_is_not_waited_for(monkeypatch):
    ours, theirs = os.pipe()
    monkeypatch.setattr(sys, "stdin", os.fdopen(ours))
    lines = Lines()
    assert not lines.is_awaited
    assert lines.read(0.0) is None and lines.is_awaited
    os.write(theirs, b"late\n")
    os.close(theirs)
    assert lines.read() == "late\n" and not lines.is_awaited
    assert lines.read() == ""


def test_a_line_that_is_given_back_is_read_again(pipe):
    lines = pipe(b"one\ntwo\n")
    first = lines.read()
    lines.give_back(first)
    assert [lines.read() for _ in range(3)] == ["one\n", "two\n", ""]


def test_lines_are_read_from_a_terminal(monkeypatch):
    parent, child = pty.openpty()
    monkeypatch.setattr(sys, "stdin", os.fdopen(child))
    os.write(parent, "é\n".encode())
    assert Lines().read() == "é\n"
    os.close(parent)
