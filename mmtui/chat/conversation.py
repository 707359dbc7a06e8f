"""A conversation: a tree of messages, of which one branch is shown.

Editing or regenerating a message adds a branch; nothing is overwritten.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from mmtui.errors import UsageError

Role = Literal["user", "assistant"]
# The state of a reply. "stopped": by the user or by the length limit; "failed": by an error.
# Messages of the user are always complete.
State = Literal["writing", "complete", "stopped", "failed"]
Kind = Literal["image", "audio", "document"]

MAX_TITLE_LENGTH = 60


@dataclass(frozen=True)
class Attachment:
    """A stored file that is part of a message.

    Attributes:
        sha256: The hash of the stored file: the original, or the text of a document.
        kind: Whether it is a picture, a recording or a document.
        name: The original name of the file.
        size: The size of the stored file in bytes.
        detail: The size of a picture ("640 x 480"), the length of a recording ("3.2 s"), or the
            length of a document ("12 pages, about 3,400 tokens").
        transcript: The text of a recording, or what of a sent document is in the prompt.
    """

    sha256: str
    kind: Kind
    name: str
    size: int
    detail: str = ""
    transcript: str = ""

    def with_transcript(self, text: str) -> "Attachment":
        """Return a copy with another transcript."""
        return replace(self, transcript=text)


@dataclass(frozen=True)
class Draft:
    """A message that is not sent yet."""

    text: str = ""
    attachments: tuple[Attachment, ...] = ()


def join_drafts(drafts: Sequence[Draft]) -> Draft:
    """Return one draft with the texts and the attachments of several, in their order."""
    text = "\n".join(draft.text for draft in drafts if draft.text)
    return Draft(text, tuple(file for draft in drafts for file in draft.attachments))


@dataclass(frozen=True)
class ReplyDetails:
    """How a reply was generated.

    Attributes:
        model: The name of the model; "" if it is unknown, as in older conversations.
        tokens: The length of the reply; 0 if it is unknown.
        tokens_per_s: Decoding speed; None if it is unknown.
    """

    model: str = ""
    tokens: int = 0
    tokens_per_s: float | None = None


@dataclass
class Message:
    """A message of the user or the model.

    Attributes:
        id: Identifies the message.
        parent: The id of the message before it; None for the first one.
        role: Who wrote it.
        text: The text, in Markdown if the model wrote it.
        attachments: Its pictures, recordings and documents.
        state: Whether a reply is complete.
        created: When it was created.
        thinking: What the model thought before a reply; it is shown, and not stored.
        is_spoken: Whether the text of a reply is the transcript of its sound, which may not be
            there yet; it is not stored.
        tools: The tool calls of a reply, and their results if its server ran them; only shown.
        details: How a reply was generated.
    """

    id: str
    parent: str | None
    role: Role
    text: str
    attachments: tuple[Attachment, ...] = ()
    state: State = "complete"
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    thinking: str = ""
    is_spoken: bool = False
    tools: str = ""
    details: ReplyDetails = field(default_factory=ReplyDetails)


class Conversation:
    """A tree of messages.

    Attributes:
        id: Identifies the conversation.
        title: The title; by default the first line of the first message.
        system: The system prompt.
        head: The id of the last message of the current branch; None if there are no messages.
    """

    def __init__(self, id: str | None = None, title: str = "", system: str = "") -> None:
        """Create a conversation without messages; `id` None generates an id."""
        self.id = id or _new_id()
        self.title, self.system = title, system
        self.head: str | None = None
        self._messages: dict[str, Message] = {}

    def snapshot(self) -> "Conversation":
        """Return a copy for another thread, which later changes do not affect."""
        copy = self.outline()
        copy._messages = {id: replace(message) for id, message in self._messages.items()}
        return copy

    def outline(self) -> "Conversation":
        """Return a copy without the messages."""
        copy = Conversation(self.id, self.title, self.system)
        copy.head = self.head
        return copy

    def __getitem__(self, id: str) -> Message:
        return self._messages[id]

    def __iter__(self) -> Iterator[Message]:
        """Iterate over the messages of all branches, in the order in which they were added."""
        return iter(self._messages.values())

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def thread(self) -> list[Message]:
        """The current branch, from its first message to its last."""
        return self.branch(self.head)

    @property
    def question(self) -> Message | None:
        """The last message of the user in the current branch."""
        return next((m for m in reversed(self.thread) if m.role == "user"), None)

    def branch(self, id: str | None) -> list[Message]:
        """Return the branch that ends with a message, from its first message."""
        messages = []
        while id is not None:
            messages.append(message := self._messages[id])
            id = message.parent
        return messages[::-1]

    def add(self, message: Message) -> Message:
        """Add a message after its parent, and make its branch the current one."""
        self._messages[message.id] = message
        self.head = message.id
        if not self.title and message.role == "user":
            self.title = make_title(message)
        return message

    def say(self, text: str, attachments: tuple[Attachment, ...] = ()) -> Message:
        """Add a message of the user at the end of the current branch."""
        return self.add(Message(_new_id(), self.head, "user", text, attachments))

    def answer(self) -> Message:
        """Add an empty reply at the end of the current branch."""
        return self.add(Message(_new_id(), self.head, "assistant", "", state="writing"))

    def edit(self, id: str, text: str) -> Message:
        """Add another version of a message, with the same attachments."""
        old = self._messages[id]
        return self.add(Message(_new_id(), old.parent, old.role, text, old.attachments))

    def regenerate(self, id: str) -> Message:
        """Add another, empty version of a reply."""
        self.head = self._messages[id].parent
        return self.answer()

    def retract(self, id: str) -> None:
        """Remove a message and its replies, and show the branch that was shown before."""
        self.delete(id)
        if not self._messages:
            self.title = ""

    def delete(self, id: str) -> list[str]:
        """Remove a message and all messages after it, and return their ids.

        If one of them was shown, the last other version is shown, or else the message before.
        """
        parent = self._messages[id].parent
        deleted = [id, *self.list_after(id)]
        for message_id in deleted:
            del self._messages[message_id]
        if self.head in deleted:
            self.head = parent
            if others := [message for message in self if message.parent == parent]:
                self.show_branch(others[-1].id)
        return deleted

    def list_after(self, id: str) -> list[str]:
        """Return the ids of all messages after a message, in all branches."""
        found = {id: None}  # keeps the order
        for message in self:  # parents come first
            if message.parent in found:
                found[message.id] = None
        return list(found)[1:]

    def last_recording(self) -> tuple[Message, Attachment]:
        """Return the last recording of the user in the current branch, and its message.

        Raises:
            UsageError: There is none.
        """
        for message in reversed(self.thread):
            for file in reversed(message.attachments):
                if file.kind == "audio" and message.role == "user":
                    return message, file
        raise UsageError("there is no recording in this conversation", "/record makes one")

    def last_reply(self) -> Message:
        """Return the reply at the end of the current branch.

        Raises:
            UsageError: There is none.
        """
        thread = self.thread
        if not thread or thread[-1].role != "assistant":
            raise UsageError("there is no answer yet", "ask something first")
        return thread[-1]

    def last_with_versions(self) -> Message | None:
        """Return the last message of the current branch that has other versions."""
        return next((m for m in reversed(self.thread) if len(self.siblings(m.id)) > 1), None)

    def show_next_version(self, message: Message) -> None:
        """Show the branch of the next version of a message; the first one follows the last."""
        versions = self.siblings(message.id)
        self.show_branch(versions[(versions.index(message) + 1) % len(versions)].id)

    def siblings(self, id: str) -> list[Message]:
        """Return all versions of a message: the messages with the same parent."""
        parent = self._messages[id].parent
        return [message for message in self if message.parent == parent]

    def version(self, id: str) -> tuple[int, int]:
        """Return the number of a version, from 1, and the number of versions."""
        versions = self.siblings(id)
        return versions.index(self._messages[id]) + 1, len(versions)

    def show_branch(self, id: str) -> None:
        """Make the branch of a message the current one, down to its newest reply."""
        self.head = id
        while children := [message for message in self if message.parent == self.head]:
            self.head = children[-1].id


def make_title(message: Message) -> str:
    """Return the first line of a message, or the name of its first attachment."""
    line = next((line.strip() for line in message.text.splitlines() if line.strip()), "")
    if not line and message.attachments:
        line = message.attachments[0].name
    return line if len(line) <= MAX_TITLE_LENGTH else f"{line[: MAX_TITLE_LENGTH - 1].rstrip()}…"


def _new_id() -> str:
    return uuid.uuid4().hex
