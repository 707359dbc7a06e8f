"""The one boundary between untrusted text and a terminal."""

import re

# C0 but tab and newline, DEL, C1, the bidirectional overrides and isolates that
# reorder what a reader sees, and lone surrogates, which no stream can encode.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def printable(text: str) -> str:
    """Drop what could drive a terminal; newlines and tabs stay.

    Works character by character, so a stream may be cleaned piece by piece.
    """
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", _UNSAFE.sub("", text))


def one_line(text: str) -> str:
    """`printable`, with newlines and tabs shown as `\\n` and `\\t`: for names and messages."""
    return printable(text.replace("\n", "\\n").replace("\t", "\\t"))
