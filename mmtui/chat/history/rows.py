"""Conversion of database rows to conversations, tolerant of damaged values.

SQLite columns accept values of any type, and a disk or another program may have changed them.
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
    ReplyDetails,
    Role,
    State,
)
from mmtui.chat.details import UNKNOWN_TIME
from mmtui.text import one_line

_YEAR_3000 = 32_503_680_000.0  # seconds since 1970


def to_text(value: object) -> str:
    """Convert a value to text; decode bytes and return "" for NULL."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)


def to_time(value: object) -> datetime:
    """Convert seconds since 1970 to a time; UNKNOWN_TIME if the value is invalid."""
    if isinstance(value, int | float) and math.isfinite(value) and 0 <= value < _YEAR_3000:
        return datetime.fromtimestamp(value, UTC)
    return UNKNOWN_TIME


def to_attachment(
    sha256: object,
    kind: object,
    name: object,
    size: object,
    detail: object = "",
    transcript: object = "",
) -> Attachment | None:
    """Return an attachment; None if its kind or its SHA-256 is invalid."""
    if kind not in get_args(Kind) or not isinstance(sha256, str):
        return None
    return Attachment(
        sha256,
        cast(Kind, kind),
        to_text(name),
        size if isinstance(size, int) else 0,
        one_line(to_text(detail)),
        to_text(transcript),
    )


def to_draft(text: object, staged: object) -> Draft:
    """Return a draft; skip attachments that can't be read from the JSON in `staged`."""
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


def from_details(message: Message) -> str:
    """Return the details and tool calls of a message as JSON, without what is unknown."""
    fields = vars(message.details) | {"tools": message.tools}
    known = {name: value for name, value in fields.items() if value}
    return json.dumps(known) if known else ""


def to_details(value: object) -> tuple[ReplyDetails, str]:
    """Return the details and tool calls of a message; leave out what is invalid."""
    try:
        fields = json.loads(to_text(value) or "{}")
    except (ValueError, RecursionError):
        fields = {}
    if not isinstance(fields, dict):
        fields = {}
    tokens, speed = fields.get("tokens"), fields.get("tokens_per_s")
    details = ReplyDetails(
        to_text(fields.get("model")),
        tokens if isinstance(tokens, int) and tokens > 0 else 0,
        speed if isinstance(speed, int | float) and 0 < speed < math.inf else None,
    )
    return details, to_text(fields.get("tools"))


def to_conversation(
    row: tuple[Any, ...],
    messages: Iterable[tuple[Any, ...]],
    attachments: Iterable[tuple[Any, ...]],
) -> Conversation:
    """Return a conversation in which every message is reachable from the root.

    Args:
        row: id, title, system, head.
        messages: number, id, parent, role, text, state, created, details; parents before children.
        attachments: number of the message, then the fields of `to_attachment`.
    """
    files: dict[object, list[Attachment]] = {}
    for number, *fields in attachments:
        if (file := to_attachment(*fields)) is not None:
            files.setdefault(number, []).append(file)
    id, title, system, head = row
    conversation = Conversation(to_text(id), to_text(title), to_text(system))
    known: set[str] = set()
    previous: str | None = None
    for number, name, parent, role, text, state, created, stored in messages:
        details, tools = to_details(stored)
        message = Message(
            to_text(name) or f"{number}",
            _to_parent(parent, known, previous),
            _to_role(role),
            to_text(text),
            tuple(files.get(number, ())),
            _to_state(state),
            to_time(created),
            tools=tools,
            details=details,
        )
        if message.id not in known:
            conversation.add(message)
            known.add(message.id)
            previous = message.id
    conversation.title = to_text(title)
    if head in known:
        conversation.head = head
    return conversation


def _to_parent(parent: object, known: set[str], previous: str | None) -> str | None:
    """Return the parent; the previous message if the parent is missing or comes later."""
    if parent is None:
        return None
    return parent if isinstance(parent, str) and parent in known else previous


def _to_role(role: object) -> Role:
    return "user" if role == "user" else "assistant"


def _to_state(state: object) -> State:
    """Return the state; "stopped" for an answer that a crash interrupted."""
    if state == "writing":
        return "stopped"
    return cast(State, state) if state in get_args(State) else "complete"
