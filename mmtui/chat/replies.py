"""What a session sends to the model, and its notices about completed replies."""

from collections.abc import Callable, Iterator
from pathlib import Path

from mmtui.chat.conversation import Attachment, Conversation, Message
from mmtui.chat.notice import Notice
from mmtui.chat.protocol import ChatTurn, Completed
from mmtui.errors import MmtuiError


def turns_before(
    conversation: Conversation,
    reply: Message,
    find: Callable[[Attachment], Path],
    notify: Callable[[Notice], None],
) -> Iterator[ChatTurn]:
    """Yield the turns before a reply, and the text that the reply already has.

    Args:
        conversation: The conversation with the reply.
        reply: The reply to be written or continued.
        find: Returns the path of an attachment; raises MmtuiError if its file is gone.
        notify: Called for each picture that is gone and therefore left out.
    """
    if conversation.system:
        yield ChatTurn("system", conversation.system)
    for message in conversation.branch(reply.id):
        pictures: list[str] = []
        for file in message.attachments:
            if file.kind == "image":
                try:
                    pictures.append(str(find(file)))
                except MmtuiError as error:
                    notify(Notice(f"{error}; the model can't see it", error.hint))
        if message.text or pictures:
            yield ChatTurn(message.role, message.text, tuple(pictures))


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
