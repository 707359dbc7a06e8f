"""Which parts of documents go into a prompt, if the context has no room for all of them."""

import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from mmtui.errors import TooLongError
from mmtui.pipeline.documents.chunks import Chunk, join_chunks, split_document
from mmtui.pipeline.documents.document import DocumentText
from mmtui.pipeline.documents.framing import frame
from mmtui.pipeline.documents.matching import score_texts
from mmtui.pipeline.documents.page_ranges import format_ranges

CountTokens = Callable[[str], int]
# What to use of documents that are too long: the parts that match the question, the beginning, or
# nothing, which is an error.
Fit = Literal["match", "beginning", "error"]

MIN_SCORE = 0.2  # of the best match; parts with a lower one are left out
TEMPLATE_TOKENS = 32  # that a chat template adds to a turn, rather too many
PICTURE_TOKENS = 1000  # of a picture whose number of tokens depends on its size
SHORT_SHARE = 0.25  # of a document's share of the room; a shorter one is used whole
MIN_TOKENS = 64  # of the context, for documents to make sense
_CHUNK_TOKENS = 8  # for the mark of a page or of omitted text

# Pieces of text that are about one token each; numbers and scripts without spaces need more.
_PIECES = re.compile(r"[A-Za-z]{1,6}|[^\W\d_a-zA-Z]{1,2}|\d|\n+|[^\w\s]{1,2}|_")


class FittedDocument(NamedTuple):
    """What goes into a prompt of a document.

    Attributes:
        name: The name of the document.
        text: Its text with marks of pages, escaped for a frame.
        tokens: The number of tokens of the text.
        note: What was left out; "" if nothing was.
    """

    name: str
    text: str
    tokens: int
    note: str


class _Split(NamedTuple):
    document: DocumentText
    chunks: list[Chunk]
    kept: set[int]


def fit_documents(
    documents: Sequence[DocumentText],
    question: str,
    budget: int,
    count_tokens: CountTokens,
    fit: Fit = "match",
) -> list[FittedDocument]:
    """Return what of documents goes into a prompt.

    Args:
        documents: The documents of a message.
        question: The text of the message.
        budget: The number of tokens that all documents together may have.
        count_tokens: Returns the number of tokens of a text.
        fit: What to use if they have more.

    Raises:
        TooLongError: They have more, and `fit` is "error" or there is room for nothing.
    """
    parts = [_Split(document, split_document(document), set()) for document in documents]
    whole = [_join(part, range(len(part.chunks))) for part in parts]
    counts = [
        count_up_to(frame(part.document.name, text), budget + 1, count_tokens)
        for part, text in zip(parts, whole, strict=True)
    ]
    if sum(counts) <= budget:
        return [
            FittedDocument(part.document.name, text, count, "")
            for part, text, count in zip(parts, whole, counts, strict=True)
        ]
    if fit == "error" or budget < MIN_TOKENS:
        names = ", ".join(document.name for document in documents)
        raise TooLongError(
            f"{names}: too long for the {max(budget, 0):,} tokens that the context has left",
            "choose pages, or --fit match" if budget >= MIN_TOKENS else "use a longer context",
        )
    if fit == "match":
        _keep_short(parts, counts, budget)
    order = _rank(parts, question) if fit == "match" else _list_from_start(parts)
    _keep(parts, order, budget, count_tokens)
    is_match = fit == "match" and any(score for score, _, _ in order)
    return [_to_fitted(part, count_tokens, is_match=is_match) for part in parts]


def get_room(context: int, max_tokens: int, other: int) -> int:
    """Return how many tokens documents can have.

    Args:
        context: The length of the model's context.
        max_tokens: Length limit of the answer, for which up to a quarter of the context is left.
        other: The number of tokens of everything else in the prompt.
    """
    return context - min(max_tokens, context // 4) - other - TEMPLATE_TOKENS


def count_up_to(text: str, limit: int, count_tokens: CountTokens) -> int:
    """Return the number of tokens of a text, or at least `limit` if it has more."""
    step = max(8 * limit, 10_000)  # characters, so that no more is counted than is needed
    total = 0
    for start in range(0, len(text), step):
        total += count_tokens(text[start : start + step])
        if total >= limit:
            break
    return total


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has, if no tokenizer is at hand; rather too many."""
    return sum(1 for _ in _PIECES.finditer(text))


Ranked = tuple[float, int, int]  # the score of a chunk, the index of its document, its own index


def _keep_short(parts: Sequence[_Split], counts: Sequence[int], budget: int) -> None:
    """Keep all of the documents that are short beside the others."""
    for part, count in zip(parts, counts, strict=True):
        if count <= SHORT_SHARE * budget / len(parts):
            part.kept.update(range(len(part.chunks)))


def _rank(parts: Sequence[_Split], question: str) -> list[Ranked]:
    """Return the chunks that match, the best ones first; all from the start if none matches."""
    order = _list_from_start(parts)
    texts = [parts[part].chunks[chunk].text for _, part, chunk in order]
    scores = score_texts(question, texts)
    best = max(scores, default=0.0)
    ranked = [
        (score, part, chunk)
        for score, (_, part, chunk) in zip(scores, order, strict=True)
        if score >= MIN_SCORE * best
    ]
    ranked.sort(key=lambda entry: -entry[0])
    return ranked + (_list_neighbors(parts, ranked) if best else [])


def _list_neighbors(parts: Sequence[_Split], ranked: Sequence[Ranked]) -> list[Ranked]:
    """Return the chunks beside those that match, on the same page."""
    return [
        (score, part, chunk)
        for score, part, index in ranked
        for chunk in (index + 1, index - 1)
        if 0 <= chunk < len(parts[part].chunks)
        and parts[part].chunks[chunk].page == parts[part].chunks[index].page
    ]


def _list_from_start(parts: Sequence[_Split]) -> list[Ranked]:
    """Return the chunks in the order of their relative place, so that no document is starved."""
    places = [
        (index / len(part.chunks), number, index)
        for number, part in enumerate(parts)
        for index in range(len(part.chunks))
    ]
    return [(0.0, number, index) for _, number, index in sorted(places)]


def _keep(
    parts: Sequence[_Split], order: Sequence[Ranked], budget: int, count_tokens: CountTokens
) -> None:
    """Keep chunks in this order while they fit."""
    left = budget - sum(count_tokens(frame(part.document.name, "")) for part in parts)
    left -= sum(
        count_tokens(part.chunks[index].text) + _CHUNK_TOKENS
        for part in parts
        for index in part.kept
    )
    for _, part, index in order:
        if index in parts[part].kept:
            continue
        tokens = count_tokens(parts[part].chunks[index].text) + _CHUNK_TOKENS
        if tokens > left:
            break
        left -= tokens
        parts[part].kept.add(index)


def _join(part: _Split, kept: Sequence[int]) -> str:
    return join_chunks(part.document, part.chunks, set(kept))


def _to_fitted(part: _Split, count_tokens: CountTokens, *, is_match: bool) -> FittedDocument:
    name = part.document.name
    text = join_chunks(part.document, part.chunks, part.kept)
    tokens = count_tokens(frame(name, text))
    if len(part.kept) == len(part.chunks):
        return FittedDocument(name, text, tokens, "")
    what = "the parts that match the question are" if is_match else "the beginning is"
    if not part.kept:
        return FittedDocument(name, text, tokens, f"{name} is too long: nothing of it is used")
    if part.document.has_pages:
        pages = {part.chunks[index].page for index in part.kept}
        place = f"page{'s' if len(pages) > 1 else ''} {format_ranges(pages)}"
        place += f" of {len(part.document.pages):,}"
    else:
        place = f"{max(100 * len(part.kept) // len(part.chunks), 1)} % of the text"
    note = f"{name} is too long for the context: {what} used ({place})"
    return FittedDocument(name, text, tokens, note)
