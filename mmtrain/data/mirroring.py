"""Text about mirrored pictures: left becomes right, and right becomes left."""

import re

_OPPOSITE = {"left": "right", "right": "left"}
# Only directions: not "right next to" something, "all right", or "left behind".
_DIRECTIONS = re.compile(
    r"(?<!all )(?<!that's )\b(left|right)(?=(?:most|wards?)?\b)(?! (?:next|now|away|behind|over|in"
    r" front|above|below|beside|under|after|before|at|there|here)\b)",
    re.IGNORECASE,
)


def swap_directions(text: str) -> str:
    """Return the text with left and right exchanged; upper and lower case stay."""
    return _DIRECTIONS.sub(_opposite, text)


def _opposite(match: re.Match[str]) -> str:
    word, opposite = match[0], _OPPOSITE[match[0].lower()]
    if word.isupper():
        return opposite.upper()
    return opposite.capitalize() if word[0].isupper() else opposite
