"""Documents in chunks, of which those that fit a prompt are put together again."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from mmtui.pipeline.documents.document import DocumentText
from mmtui.pipeline.documents.framing import OMITTED, escape, mark_page

CHUNK_CHARACTERS = 800


class Chunk(NamedTuple):
    """A part of a document that is used or left out as a whole.

    Attributes:
        page: The number of its page, from 1.
        text: Its text.
    """

    page: int
    text: str


def split_document(document: DocumentText) -> list[Chunk]:
    """Split the pages of a document at lines; longer lines are split, too."""
    chunks = []
    for number, page in enumerate(document.pages, 1):
        lines: list[str] = []
        length = 0
        for line in _split_lines(page):
            if lines and length + len(line) > CHUNK_CHARACTERS:
                chunks.append(Chunk(number, "\n".join(lines)))
                lines, length = [], 0
            lines.append(line)
            length += len(line) + 1
        if any(line.strip() for line in lines):
            chunks.append(Chunk(number, "\n".join(lines)))
    return chunks


def join_chunks(document: DocumentText, chunks: Sequence[Chunk], kept: Collection[int]) -> str:
    """Return the text of a document for a prompt, with the marks of its pages.

    Args:
        document: The document.
        chunks: All its chunks.
        kept: The indices of those that are used.
    """
    lines: list[str] = []
    page, is_omitting = 0, False
    for index, chunk in enumerate(chunks):
        if index not in kept:
            if not is_omitting:
                lines.append(OMITTED)
            is_omitting = True
            continue
        is_omitting = False
        if document.has_pages and chunk.page != page:
            lines.append(mark_page(chunk.page))
        page = chunk.page
        lines.append(escape(chunk.text))
    return "\n".join(lines)


def write_document(document: DocumentText) -> str:
    """Return the whole text of a document for a prompt, with the marks of its pages."""
    chunks = split_document(document)
    return join_chunks(document, chunks, range(len(chunks)))


def _split_lines(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        for start in range(0, max(len(line), 1), CHUNK_CHARACTERS):
            yield line[start : start + CHUNK_CHARACTERS]
