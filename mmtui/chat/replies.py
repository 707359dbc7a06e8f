"""What a session sends to the model, and its notices about completed replies."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mmtui.chat.conversation import Attachment, Conversation
from mmtui.chat.notice import Notice
from mmtui.chat.protocol import ChatTurn, Completed
from mmtui.errors import MmtuiError


def _ignore(notice: Notice) -> None:
    """Show nothing."""


def list_turns(
    conversation: Conversation,
    find: Callable[[Attachment], Path],
    notify: Callable[[Notice], None] = _ignore,
) -> Iterator[ChatTurn]:
    """Yield the turns of the current branch that are not empty, after the system prompt.

    Args:
        conversation: The conversation.
        find: Returns the path of an attachment; raises MmtuiError if its file is gone.
        notify: Called for each picture that is gone and therefore left out; not reported by
            default.
    """
    if conversation.system:
        yield ChatTurn("system", conversation.system)
    for message in conversation.thread:
        pictures = tuple(list_pictures(message.attachments, find, notify))
        if message.text or pictures:
            yield ChatTurn(message.role, message.text, pictures)


def list_pictures(
    files: Iterable[Attachment],
    find: Callable[[Attachment], Path],
    notify: Callable[[Notice], None] = _ignore,
) -> Iterator[str]:
    """Yield the paths of the pictures among some attachments; the arguments are as above."""
    for file in files:
        if file.kind == "image":
            try:
                yield str(find(file))
            except MmtuiError as error:
                notify(Notice(f"{error}; the model does not see it", error.hint))


def completion_notices(event: Completed, dropped_before: int) -> Iterator[Notice]:
    """Yield what the user should know about a completed reply.

    Args:
        event: The completed reply.
        dropped_before: How many turns were left out of the prompt of the reply before it.
    """
    if event.full:
        text = "the answer reached the end of the model's context"
        hint = "/continue resumes the answer without the oldest turns"
        yield Notice(text, hint, is_error=False)
    if event.dropped > dropped_before:
        text = f"the context is full: the oldest {event.dropped} turns are left out"
        yield Notice(text, "they stay in the history", is_error=False)
    if event.repeats:
        yield Notice("stopped: the answer was repeating itself", is_error=False)
