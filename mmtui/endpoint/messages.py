"""The turns of a conversation as messages of OpenAI's protocol."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal


@dataclass(frozen=True)
class EndpointTurn:
    """A message of one role.

    Attributes:
        role: Who wrote it.
        text: Its text.
        pictures: Data URIs; they come before the text.
        recordings: WAV files; they come before the text, too.
        picture_texts: What is said about the text in each picture, after the picture; empty if the
            model does not get it. Without `pictures`, it replaces them.
    """

    role: Literal["system", "user", "assistant"]
    text: str
    pictures: tuple[str, ...] = ()
    recordings: tuple[bytes, ...] = ()
    picture_texts: tuple[str, ...] = ()


def to_messages(turns: Sequence[EndpointTurn]) -> list[dict[str, object]]:
    """Return the messages for a conversation.

    Adjacent turns of the same role, such as two questions after a failed reply, are merged: some
    chat templates require that roles alternate.
    """
    merged: list[EndpointTurn] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            merged[-1] = _merge(merged[-1], turn)
        else:
            merged.append(turn)
    return [{"role": turn.role, "content": _to_content(turn)} for turn in merged]


def drop_oldest(turns: tuple[EndpointTurn, ...]) -> tuple[EndpointTurn, ...]:
    """Return a conversation without the oldest quarter of its turns.

    The system prompt and the last question stay, with a reply that is to be continued; if nothing
    else is left, `turns` are returned.
    """
    system = turns[:1] if turns[0].role == "system" else ()
    rest = turns[len(system) :]
    questions = [at for at, turn in enumerate(rest) if turn.role == "user" and at]
    first = next((at for at in questions if at >= len(rest) // 4), None)
    return turns if first is None else (*system, *rest[first:])


def _merge(first: EndpointTurn, second: EndpointTurn) -> EndpointTurn:
    return EndpointTurn(
        first.role,
        "\n\n".join(text for text in (first.text, second.text) if text),
        first.pictures + second.pictures,
        first.recordings + second.recordings,
        first.picture_texts + second.picture_texts,
    )


def _to_content(turn: EndpointTurn) -> str | list[dict[str, object]]:
    """Return a text alone as it is: not all servers accept a list of parts everywhere.

    JSON can't contain lone surrogates, which stand for bytes that are not UTF-8.
    """
    text = turn.text.encode(errors="replace").decode()
    if not turn.pictures:
        text = "\n".join(part for part in (*turn.picture_texts, text) if part)
    if not turn.pictures and not turn.recordings:
        return text
    parts: list[dict[str, object]] = []
    for picture, words in zip_longest(turn.pictures, turn.picture_texts if turn.pictures else ()):
        parts.append({"type": "image_url", "image_url": {"url": picture}})
        if words:
            parts.append({"type": "text", "text": words})
    for recording in turn.recordings:
        data = base64.b64encode(recording).decode("ascii")
        parts.append({"type": "input_audio", "input_audio": {"data": data, "format": "wav"}})
    if text:
        parts.append({"type": "text", "text": text})
    return parts
