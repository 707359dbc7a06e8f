"""The lines of stdin."""

import os
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
