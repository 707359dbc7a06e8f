"""Removal of control characters from text, before it is written to a terminal."""

import re

# Control characters (C0 except tab and newline, DEL, C1), and the bidirectional overrides and
# isolates, which reorder the text on the screen.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# Lone surrogates, which no stream can encode.
_SURROGATE = re.compile("[\ud800-\udfff]")
_MARKS = re.compile(r"\*\*|`+|^#{1,6} ", re.MULTILINE)


def printable(text: str) -> str:
    """Return text without characters that could control a terminal; newlines and tabs stay.

    Each character is handled separately, so the pieces of a stream can be passed one by one.
    """
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", _UNSAFE.sub("", text))


def one_line(text: str) -> str:
    """Return printable text with newlines and tabs as `\\n` and `\\t`, for names and messages."""
    return printable(text.replace("\n", "\\n").replace("\t", "\\t"))


def remove_marks(text: str) -> str:
    """Return Markdown without the marks of bold text, code and headings, for a row of a list."""
    return _MARKS.sub("", text)
