"""Documents of a chat: reading them, and fitting them to what the context has left."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.chat.conversation import Attachment
from mmtui.chat.status import ModelStatus
from mmtui.errors import UsageError
from mmtui.pipeline.documents.document import DocumentText
from mmtui.pipeline.documents.fitting import (
    PICTURE_TOKENS,
    Fit,
    estimate_tokens,
    fit_documents,
    get_room,
)
from mmtui.pipeline.documents.page_ranges import list_pages, parse_ranges
from mmtui.pipeline.documents.reading import ignore_progress

if TYPE_CHECKING:
    from mmtui.pipeline.assets.fetch import Report

FindFile = Callable[[Attachment], Path]  # returns the file of an attachment; raises InputError
# Of what the context has left, for documents that are too long: the rest is for the conversation.
PARTIAL_SHARE = 0.75


@dataclass(frozen=True)
class Reading:
    """What a user interface has to do with the reading of a file.

    Attributes:
        report: Called with (step, done, total) for each page.
        is_cancelled: Asked while the file is read.
    """

    report: "Report" = ignore_progress
    is_cancelled: Callable[[], bool] = lambda: False


NO_PROGRESS = Reading()


@dataclass(frozen=True)
class Fitted:
    """The attachments of a message, with what of its documents goes into the prompt.

    Attributes:
        attachments: All attachments, in their order.
        notes: What was left out.
    """

    attachments: tuple[Attachment, ...]
    notes: tuple[str, ...] = ()


def find_room(
    status: ModelStatus, system: str, text: str, pictures: int, max_tokens: int
) -> int | None:
    """Return how many tokens documents can have beside a message; None if that is not known.

    The conversation before the message does not count: its oldest turns give way.

    Args:
        status: The state of the model.
        system: The system prompt.
        text: The text of the message.
        pictures: The number of its pictures.
        max_tokens: Length limit of the answer.
    """
    if not status.context:
        return None
    other = estimate_tokens(system) + estimate_tokens(text)
    other += pictures * (status.picture_tokens or PICTURE_TOKENS)
    return max(get_room(status.context, max_tokens, other), 0)


def has_documents(attachments: Sequence[Attachment]) -> bool:
    """Return whether one of the attachments is a document."""
    return any(file.kind == "document" for file in attachments)


def describe_document(document: DocumentText) -> str:
    """Return the size of a document, such as "12 pages, about 3,400 tokens"."""
    tokens = f"about {sum(map(estimate_tokens, document.pages)):,} tokens"
    if not document.has_pages:
        return tokens
    count = len(document.pages)
    chosen = sum(bool(page) for page in document.pages)
    pages = f"{count:,} pages" if chosen == count else f"{chosen:,} of {count:,} pages"
    return f"{pages}, {tokens}"


def fit_attachments(
    attachments: Sequence[Attachment], find: FindFile, question: str, room: int | None, fit: Fit
) -> Fitted:
    """Choose what of the documents goes into the prompt.

    Args:
        attachments: The attachments of a message.
        find: Returns the file of an attachment.
        question: The text of the message.
        room: The tokens that documents can have; None if that is not known.
        fit: What to use of documents that are too long.

    Raises:
        TooLongError: They are, and `fit` is "error", or there is room for nothing.
        InputError: A stored document is gone.
    """
    documents = [read_stored(file, find) for file in attachments if file.kind == "document"]
    total = sum(estimate_tokens(page) for document in documents for page in document.pages)
    if room is None:
        room = sys.maxsize
    elif total > room and fit != "error":
        room = int(room * PARTIAL_SHARE)
    fitted = iter(fit_documents(documents, question, room, estimate_tokens, fit))
    notes: list[str] = []
    used: list[Attachment] = []
    for file in attachments:
        if file.kind == "document":
            part = next(fitted)
            notes += [part.note] if part.note else []
            used.append(file.with_transcript(part.text))
        else:
            used.append(file)
    return Fitted(tuple(used), tuple(notes))


def choose_pages(document: DocumentText, pages: str) -> DocumentText:
    """Return a document with the chosen pages only, as in "3-7".

    Raises:
        UsageError: The pages can't be parsed, or the document has none.
        InputError: It has no such page.
    """
    if not document.has_pages:
        raise UsageError(f"{document.name} has no pages to choose from")
    chosen = set(list_pages(parse_ranges(pages), len(document.pages)))
    kept = (page if number in chosen else "" for number, page in enumerate(document.pages, 1))
    return replace(document, pages=tuple(kept))


def read_stored(attachment: Attachment, find: FindFile) -> DocumentText:
    """Return the text of a stored document."""
    return DocumentText.parse(attachment.name, find(attachment).read_text("utf-8"))


def list_used(attachments: Sequence[Attachment]) -> Iterator[tuple[str, str]]:
    """Yield the name of each document of a sent message, and what of it is in the prompt."""
    for file in attachments:
        if file.kind == "document" and file.transcript:
            yield file.name, file.transcript
