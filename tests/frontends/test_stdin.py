"""Read lines of stdin."""

import os
import pty
import sys

import pytest

from mmtui.errors import InputError
from mmtui.frontends.stdin import LineReader


@pytest.fixture
def pipe(monkeypatch):
    """Replace stdin by a pipe with this data."""

    def write(data: bytes) -> LineReader:
        read_end, write_end = os.pipe()
        os.write(write_end, data)
        os.close(write_end)
        monkeypatch.setattr(sys, "stdin", os.fdopen(read_end))
        return LineReader()

    return write


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le"])
def test_lines_are_read_in_any_encoding(pipe, encoding):
    lines = pipe("é1\n\nsecond é\nlast".encode(encoding))
    assert [lines.read() for _ in range(5)] == ["é1\n", "\n", "second é\n", "last", ""]


def test_binary_data_is_refused(pipe):
    with pytest.raises(InputError, match="a picture"):
        pipe(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").read()


def test_a_read_times_out_and_goes_on_later(monkeypatch):
    read_end, write_end = os.pipe()
    monkeypatch.setattr(sys, "stdin", os.fdopen(read_end))
    lines = LineReader()
    assert not lines.is_reading
    assert lines.read(0.0) is None and lines.is_reading
    os.write(write_end, b"late\n")
    os.close(write_end)
    assert lines.read() == "late\n" and not lines.is_reading
    assert lines.read() == ""


def test_a_line_that_is_put_back_is_read_again(pipe):
    lines = pipe(b"one\ntwo\n")
    first = lines.read()
    lines.unread(first)
    assert [lines.read() for _ in range(3)] == ["one\n", "two\n", ""]


def test_lines_are_read_from_a_terminal(monkeypatch):
    parent, child = pty.openpty()
    monkeypatch.setattr(sys, "stdin", os.fdopen(child))
    os.write(parent, "é\n".encode())
    assert LineReader().read() == "é\n"
    os.close(parent)
