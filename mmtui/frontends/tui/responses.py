"""Separate the responses of a terminal from keys; both arrive in the same stream of characters.

Over a slow connection, responses arrive late and in pieces.
"""

import re
from typing import NamedTuple

# Strings that terminals send: graphics (APC), settings and version (DCS), colours (OSC).
_STRING = r"\x1b(?:_G[a-zA-Z]=|P(?:>\||!\||[01]?[$+]r)|\]\d+;)[^\x00-\x1f]*"
# Attributes, status, cursor position and others. Reports of modes (`CSI ? 1;2 $ y`) and of a new
# size (`CSI 48;... t`) are left to Textual, which parses them.
_REPORT = r"\x1b\[(?:[?>=][\d;:]*[cnuRSt]|(?!48;)\d[\d;]*t|[03]n|\d+;\d+\$y)"
_RESPONSE = re.compile(rf"{_STRING}(?:\x1b\\|\x07)|{_REPORT}")
# The start of a response; and the start of a response or of a key.
_PARTIAL = re.compile(rf"(?:{_STRING}\x1b?|\x1b\[[?>=<]\d[\d;:$]*|\x1b\[\d+;[\d;:$]*)\Z")
_AMBIGUOUS = re.compile(r"\x1b(?:\[[?>=<]?[\d;:$]*|_(?:G[a-zA-Z]?)?|P(?:[>!]|[01]?[$+]?)|\]\d*)?\Z")


class SplitInput(NamedTuple):
    """Input of a terminal.

    Attributes:
        keys: What was typed.
        responses: The complete responses.
        unfinished: The end of the input, if it may be the start of a response.
    """

    keys: str
    responses: str
    unfinished: str


def split_responses(text: str) -> SplitInput:
    """Separate the responses of a terminal from keys."""
    responses = "".join(_RESPONSE.findall(text))
    keys = _RESPONSE.sub("", text)
    end = _PARTIAL.search(keys) or _AMBIGUOUS.search(keys)
    index = end.start() if end else len(keys)
    return SplitInput(keys[:index], responses, keys[index:])


def is_partial_response(unfinished: str) -> bool:
    """Return whether an unfinished input is certainly the start of a response, not of a key."""
    return _PARTIAL.match(unfinished) is not None
