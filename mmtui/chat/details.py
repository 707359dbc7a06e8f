"""What is known about a message besides its text: who wrote it, when, and how fast."""

from dataclasses import replace
from datetime import UTC, datetime

from mmtui.chat.conversation import Message, ReplyDetails
from mmtui.chat.protocol import Completed
from mmtui.text import one_line

UNKNOWN_TIME = datetime.fromtimestamp(0, UTC)
SEPARATOR = "  ·  "
MAX_NAME_LENGTH = 40


def update_details(reply: Message, model: str, completed: Completed | None) -> None:
    """Note what is known about a reply that has ended.

    The length of an interrupted reply is unknown, also after it was continued.

    Args:
        reply: The reply.
        model: The name of its model.
        completed: The end of the reply, or of its continuation; None if it was interrupted.
    """
    before = reply.details
    if completed is None:
        reply.details = replace(before, model=model, tokens=0)
        return
    was_interrupted = bool(before.model) and before.tokens == 0
    tokens = 0 if was_interrupted else before.tokens + completed.completion_tokens
    reply.details = ReplyDetails(model, tokens, completed.tokens_per_s)


def describe(message: Message) -> str:
    """Return in one line who wrote a message, when, and the length and speed of a reply.

    What is unknown is left out.
    """
    details = message.details
    parts = ["you" if message.role == "user" else one_line(shorten_model(details.model)) or "mmtui"]
    if message.created != UNKNOWN_TIME:
        parts.append(_format_created(message.created))
    if details.tokens:
        parts.append("1 token" if details.tokens == 1 else f"{details.tokens:,} tokens")
    if details.tokens_per_s:
        parts.append(format_speed(details.tokens_per_s))
    return " · ".join(parts)


def shorten_model(model: str) -> str:
    """Return the name of a model without folders if it is long, as a path of llama-server is."""
    return model.rstrip("/").rsplit("/", 1)[-1] if len(model) > MAX_NAME_LENGTH else model


def format_time(time: datetime) -> str:
    """Return a time in the zone of this machine, as in "29 Nov 2026 16:30"."""
    return f"{time.astimezone():%d %b %Y %H:%M}"


def _format_created(time: datetime) -> str:
    """Return a time, without the date if it is that of today."""
    local = time.astimezone()
    return f"{local:%H:%M}" if local.date() == datetime.now().date() else format_time(time)


def format_speed(tokens_per_s: float) -> str:
    """Return a speed, as in "52 tokens/s" or "0.52 tokens/s"."""
    return f"{tokens_per_s:{'.0f' if tokens_per_s >= 10 else '.2g'}} tokens/s"
