"""What a session sends to the model, and its notices about completed replies."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mmtui.chat.conversation import Attachment, Conversation, Draft, Kind, Message
from mmtui.chat.documents import list_used
from mmtui.chat.notice import Notice
from mmtui.chat.protocol import ChatTurn, Completed
from mmtui.endpoint.tools import CALL_NOTE, NO_TOOLS_HINT
from mmtui.errors import MmtuiError
from mmtui.pipeline.documents.framing import prepend_documents


def list_turns(
    conversation: Conversation,
    find: Callable[[Attachment], Path],
    sends_recordings: bool = False,
    notify: Callable[[Notice], None] | None = None,
) -> Iterator[ChatTurn]:
    """Yield the turns of the current branch that are not empty, after the system prompt.

    Pictures and sounds of replies are left out: servers accept only text from the assistant.

    Args:
        conversation: The conversation.
        find: Returns the path of an attachment; raises MmtuiError if its file is gone.
        sends_recordings: Whether the model hears the recordings that have no transcript.
        notify: Called for each file that is gone and therefore left out; not reported by default.
    """
    if conversation.system:
        yield ChatTurn("system", conversation.system)
    for message in conversation.thread:
        files = message.attachments if message.role == "user" else ()
        pictures = tuple(list_files(files, find, "image", notify))
        untranscribed = [file for file in files if not file.transcript]
        sent = untranscribed if sends_recordings else []
        recordings = tuple(list_files(sent, find, "audio", notify))
        text = prepend_documents(list(list_used(files)), message.text)
        if text or pictures or recordings:
            yield ChatTurn(message.role, text, pictures, recordings)


def list_files(
    files: Iterable[Attachment],
    find: Callable[[Attachment], Path],
    kind: Kind,
    notify: Callable[[Notice], None] | None = None,
) -> Iterator[str]:
    """Yield the paths of the attachments of one kind; the arguments are as above."""
    for file in files:
        if file.kind == kind:
            try:
                yield str(find(file))
            except MmtuiError as error:
                if notify is not None:
                    notify(Notice(f"{error}; the model does not get it", error.hint))


def to_draft(message: Message) -> Draft:
    """Return a message as a draft, whose documents are fitted again when it is sent."""
    files = (
        file.with_transcript("") if file.kind == "document" else file
        for file in message.attachments
    )
    return Draft(message.text, tuple(files))


def completion_notices(
    event: Completed, dropped_before: int, reply: Message | None
) -> Iterator[Notice]:
    """Yield what the user should know about a completed reply.

    Args:
        event: The end of the reply.
        dropped_before: How many turns were left out of the prompt of the reply before it.
        reply: The reply.
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
    if reply is not None and reply.tools and not (reply.text.strip() or reply.attachments):
        yield Notice(CALL_NOTE, NO_TOOLS_HINT, is_error=False)
