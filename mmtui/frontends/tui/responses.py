"""Tell what a terminal answers from what is typed, in the stream of characters that carries both.

Over a slow line answers come at any time and in pieces, long after they were asked for.
"""

import re
from typing import NamedTuple

# A string that the terminal sends: graphics (APC), settings and its version (DCS), colours (OSC).
_STRING = r"\x1b(?:_G[a-zA-Z]=|P(?:>\||!\||[01]?[$+]r)|\]\d+;)[^\x00-\x1f]*"
# Attributes, status, position and the like. Reports of modes (`CSI ? 1;2 $ y`) and of a new size
# (`CSI 48;... t`) are left to Textual, which understands them.
_REPORT = r"\x1b\[(?:[?>=][\d;:]*[cnuRSt]|(?!48;)\d[\d;]*t|[03]n|\d+;\d+\$y)"
_ANSWER = re.compile(rf"{_STRING}(?:\x1b\\|\x07)|{_REPORT}")
# What only a terminal sends, and only in part so far; and what could be a key as well.
_BEGUN = re.compile(rf"(?:{_STRING}\x1b?|\x1b\[[?>=<]\d[\d;:$]*|\x1b\[\d+;[\d;:$]*)\Z")
_PERHAPS = re.compile(r"\x1b(?:\[[?>=<]?[\d;:$]*|_(?:G[a-zA-Z]?)?|P(?:[>!]|[01]?[$+]?)|\]\d*)?\Z")


class SplitInput(NamedTuple):
    """What was read: keys, whole answers, and an end that may be the beginning of either."""

    keys: str
    answers: str
    unfinished: str


def split_responses(text: str) -> SplitInput:
    """Separate the answers of a terminal from keys."""
    answers = "".join(_ANSWER.findall(text))
    keys = _ANSWER.sub("", text)
    end = _BEGUN.search(keys) or _PERHAPS.search(keys)
    at = end.start() if end else len(keys)
    return SplitInput(keys[:at], answers, keys[at:])


def is_partial_response(unfinished: str) -> bool:
    """Whether this is the beginning of something that only a terminal sends, and nobody types."""
    return _BEGUN.match(unfinished) is not None
