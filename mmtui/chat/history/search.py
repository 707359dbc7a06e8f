"""Text comparison of the search, which ignores case, accents and typographic variants.

Text is not split into words, so that a search finds parts of words and scripts without spaces.
"""

import re
import unicodedata
from functools import lru_cache

MAX_TERMS = 50  # in one search; further terms are ignored
SNIPPET_BEFORE, SNIPPET_LENGTH = 30, 90  # characters

# Combining marks that people leave out when they type: accents, Hebrew and Arabic vowel signs. In
# other scripts (Thai, Devanagari, Japanese) marks change the letter, so they stay. Also characters
# without width: soft hyphens, joiners, variation selectors.
_IGNORED = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff"
    "\u00ad\u200b-\u200f\u2060\ufe00-\ufe0f\ufeff]"
)
_SPACES = re.compile(r"[\s\x00-\x1f\x7f]+")
# ruff: noqa: RUF001 - this table is about letters that look like others.
# Letters and marks that Unicode does not decompose.
_PLAIN = str.maketrans(
    {
        "ı": "i", "ł": "l", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "æ": "ae", "œ": "oe",
        "þ": "th", "‘": "'", "’": "'", "ʼ": "'", "‚": "'", "“": '"', "”": '"', "„": '"',
        "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "−": "-",
    }
)  # fmt: skip


def fold(value: object) -> str:
    """Reduce text, or a database's bytes of it, to the form in which searches compare it."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
    text = text.casefold()
    if not text.isascii():
        text = _IGNORED.sub("", unicodedata.normalize("NFKD", text))
        # Casefold again: the decomposition of some symbols has capital letters.
        text = unicodedata.normalize("NFC", text.translate(_PLAIN)).casefold()
    return _SPACES.sub(" ", text).strip()


def split_terms(query: str) -> list[str]:
    """Return the folded words of a query, without quotation marks around them."""
    words = (word.strip('"') or word for word in fold(query).split())
    return list(dict.fromkeys(words))[:MAX_TERMS]


def find_spans(text: str, phrase: str) -> list[tuple[int, int]]:
    """Return where a text contains a phrase, which is folded already.

    Returns:
        The start and the end of each occurrence; they do not overlap.
    """
    if not phrase or phrase not in fold(text):
        return []
    folded: list[str] = []
    positions: list[int] = []  # in `text`, of each folded character
    for position, character in enumerate(text):
        piece = " " if _SPACES.match(character) else _fold_character(character)
        if piece == " " and folded and folded[-1] == " ":
            continue
        folded += piece
        positions += [position] * len(piece)
    found = re.finditer(re.escape(phrase), "".join(folded))
    return [(positions[match.start()], positions[match.end() - 1] + 1) for match in found]


@lru_cache(maxsize=4096)
def _fold_character(character: str) -> str:
    return fold(character)


def make_snippet(text: str, terms: list[str]) -> str:
    """Return the part of `text` around the first occurrence of a term, on one line."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    folded = fold(text)
    found = min((at for term in terms if (at := folded.find(term)) >= 0), default=0)
    start = 0 if found <= SNIPPET_BEFORE else _unfolded_index(text, found - SNIPPET_BEFORE)
    end = start + SNIPPET_LENGTH
    return f"{'…' if start else ''}{text[start:end].strip()}{'…' if end < len(text) else ''}"


def _unfolded_index(text: str, index: int) -> int:
    """Return the index in `text` of the character at `index` of the folded text."""
    length = 0
    for at, character in enumerate(text):
        if length >= index:
            return at
        length += 1 if character == " " else len(fold(character))
    return len(text)
