"""What a row of the database says, whatever it holds: a damaged value costs no more than itself.

SQLite's columns take values of any type, and a disk or another program may have altered them.
"""

import json
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, cast, get_args

from mmtui.chat.conversation import (
    Attachment,
    Conversation,
    Draft,
    Kind,
    Message,
    Role,
    State,
)  # fmt: skip
from mmtui.text import one_line

UNKNOWN_TIME = datetime.fromtimestamp(0, UTC)
_YEAR_3000 = 32_503_680_000.0  # seconds since 1970


def to_text(value: object) -> str:
    """Text as it is, bytes decoded, "" for NULL."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)


def to_time(value: object) -> datetime:
    """A time stamp in seconds since 1970; UNKNOWN_TIME if it can't be one."""
    if isinstance(value, int | float) and math.isfinite(value) and 0 <= value < _YEAR_3000:
        return datetime.fromtimestamp(value, UTC)
    return UNKNOWN_TIME


def to_attachment(
    sha256: object, kind: object, name: object, size: object, detail: object = "",
    transcript: object = "",
) -> Attachment | None:  # fmt: skip
    """None for a kind that there is not, or where no file is named."""
    if kind not in get_args(Kind) or not isinstance(sha256, str):
        return None
    return Attachment(
        sha256, cast(Kind, kind), to_text(name), size if isinstance(size, int) else 0,
        one_line(to_text(detail)), to_text(transcript),
    )  # fmt: skip


def to_draft(text: object, staged: object) -> Draft:
    """`staged` is JSON; an attachment that can't be read there can be attached again."""
    try:
        entries = json.loads(to_text(staged))
    except (ValueError, RecursionError):
        entries = []
    found = []
    for entry in entries if isinstance(entries, list) else []:
        try:
            found.append(to_attachment(**entry))
        except TypeError:
            continue  # not the fields of an attachment
    return Draft(to_text(text), tuple(file for file in found if file is not None))


def to_conversation(
    row: tuple[Any, ...],
    messages: Iterable[tuple[Any, ...]],
    attachments: Iterable[tuple[Any, ...]],
) -> Conversation:
    """A conversation, of which every message can be reached.

    Args:
        row: id, title, system, head.
        messages: number, id, parent, role, text, state, created; parents before children.
        attachments: The message's number, then the fields of `to_attachment`.
    """
    files: dict[object, list[Attachment]] = {}
    for number, *fields in attachments:
        if (file := to_attachment(*fields)) is not None:
            files.setdefault(number, []).append(file)
    id, title, system, head = row
    conversation = Conversation(to_text(id), to_text(title), to_text(system))
    known: set[str] = set()
    previous: str | None = None
    for number, name, parent, role, text, state, created in messages:
        message = Message(
            to_text(name) or f"{number}", _to_parent(parent, known, previous), _to_role(role),
            to_text(text), tuple(files.get(number, ())), _to_state(state), to_time(created),
        )  # fmt: skip
        if message.id not in known:
            conversation.add(message)
            known.add(message.id)
            previous = message.id
    conversation.title = to_text(title)
    if head in known:
        conversation.head = head
    return conversation


def _to_parent(parent: object, known: set[str], previous: str | None) -> str | None:
    """The parent; the message before, where the parent is missing or comes later."""
    if parent is None:
        return None
    return parent if isinstance(parent, str) and parent in known else previous


def _to_role(role: object) -> Role:
    return "user" if role == "user" else "assistant"


def _to_state(state: object) -> State:
    """An answer that was being written when the program ended was stopped there."""
    if state == "writing":
        return "stopped"
    return cast(State, state) if state in get_args(State) else "complete"
