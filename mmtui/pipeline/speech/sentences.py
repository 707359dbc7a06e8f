"""Splitting of plain text into sentences."""

import re
from collections.abc import Iterator

MAX_LENGTH = 300  # characters; the voice starts when a whole sentence is synthesized
# The end of a sentence: Latin punctuation needs a space and another character after it.
_END = re.compile('[.!?…]+["”’»)\\]]*(?=\\s+\\S)|[。！？]+["”’」』)]*')
_ABBREVIATIONS = frozenset(
    {"mr", "mrs", "ms", "dr", "prof", "st", "vs", "etc", "e.g", "i.e", "cf", "approx", "fig", "no",
     "vol", "inc", "ltd", "jr", "sr", "bzw", "ca", "z", "z.b", "d.h"}
)  # fmt: skip
_PAUSE = ".!?…:;,。！？：；，"
_CLAUSE_END = re.compile(r"[,;:—–](?=\s)|[，；：、]|\s")


def has_sentence_end(text: str) -> bool:
    """Return whether a sentence may end in a text."""
    return _END.search(text) is not None


def split_sentences(text: str, *, is_complete: bool) -> list[str]:
    """Split a text into sentences.

    Args:
        text: The text of a paragraph.
        is_complete: Whether the text after the last end of a sentence is a sentence.
    """
    sentences, start = [], 0
    for end in _END.finditer(text):
        if _is_sentence_end(text, end):
            sentences.append(text[start : end.end()])
            start = end.end()
    if is_complete:
        rest = text[start:].strip()
        sentences.append(rest if rest[-1:] in _PAUSE else f"{rest}.")
    pieces = (piece for sentence in sentences for piece in _split_long(sentence.strip()))
    return [piece for piece in pieces if any(map(str.isalnum, piece))]


def _is_sentence_end(text: str, end: "re.Match[str]") -> bool:
    """Return whether punctuation ends a sentence, rather than an abbreviation or a number."""
    following = text[end.end() :].lstrip()
    if end[0][0] != ".":
        return not following[:1].islower()
    word = text[: end.start()].rpartition(" ")[2].lstrip("(\"'“‘")
    is_initial = len(word) == 1 and word.isupper() and word != "I"
    return not (following[:1].islower() or is_initial or word.lower() in _ABBREVIATIONS)


def _split_long(sentence: str) -> Iterator[str]:
    """Split a sentence that is too long, between clauses or words if possible."""
    while len(sentence) > MAX_LENGTH:
        ends = [m.end() for m in _CLAUSE_END.finditer(sentence[:MAX_LENGTH])]
        clauses = [end for end in ends if not sentence[end - 1].isspace()]
        suitable = [end for end in clauses if end > MAX_LENGTH // 3] or ends
        cut = suitable[-1] if suitable else MAX_LENGTH
        yield sentence[:cut].strip()
        sentence = sentence[cut:].strip()
    yield sentence
