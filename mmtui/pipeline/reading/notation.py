"""How a prompt writes the text of a picture: `text: "EXIT / Floor 2"`, or `text: none`."""

import unicodedata
from bisect import bisect_right
from collections.abc import Callable

MAX_TOKENS = 160  # of the text of one picture
MAX_NOTATION_TOKENS = MAX_TOKENS + 16  # with the words and the quotes around it
_MAX_CHARACTERS = 16 * MAX_TOKENS  # of a text whose tokens are counted
# Of letters and digits in all. A wheel is read as an "O", crossed branches as an "X": a single
# character is noise more often than text.
_MIN_CHARACTERS = 2
_SEPARATOR, _ELLIPSIS = " / ", " ..."
_QUOTES = str.maketrans(dict.fromkeys('"“”„‟″\N{FULLWIDTH QUOTATION MARK}', "'"))


def write_text(text: str, count_tokens: Callable[[str], int]) -> str:
    """Return the words of a prompt for the text of a picture.

    The text is data: it can end neither its quotes nor its line. Special tokens remain, which the
    chat format breaks in any text.

    Args:
        text: The lines of text in the picture; "" if there are none.
        count_tokens: Returns the number of tokens of a text.
    """
    lines = (_clean(line) for line in text.splitlines())
    cleaned = _SEPARATOR.join(line for line in lines if line)
    if sum(map(str.isalnum, cleaned)) < _MIN_CHARACTERS:
        cleaned = ""
    return f'text: "{_truncate(cleaned, count_tokens)}"' if cleaned else "text: none"


def write_picture(text: str, count_tokens: Callable[[str], int]) -> str:
    """Return the words of a prompt for a picture of which the model gets nothing but the text."""
    return f"picture; {write_text(text, count_tokens)}"


def _clean(line: str) -> str:
    """Remove control characters, also invisible ones, and double quotes."""
    kept = (" " if character.isspace() else character for character in line)
    visible = "".join(each for each in kept if unicodedata.category(each)[0] != "C")
    return " ".join(visible.translate(_QUOTES).split())


def _truncate(text: str, count_tokens: Callable[[str], int]) -> str:
    """Keep the beginning of a text, up to the last word within MAX_TOKENS."""
    if len(text) <= _MAX_CHARACTERS and count_tokens(text) <= MAX_TOKENS:
        return text
    sizes = range(1, min(len(text), _MAX_CHARACTERS) + 1)
    fitting = bisect_right(
        sizes, MAX_TOKENS, key=lambda size: count_tokens(text[:size] + _ELLIPSIS)
    )
    words, _, _ = text[:fitting].rpartition(" ")
    return (words.removesuffix(" /") or text[:fitting]) + _ELLIPSIS
