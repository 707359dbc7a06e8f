"""A conversation: messages in a tree, of which one branch is read.

Editing or regenerating a message begins a branch beside it; nothing is overwritten.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

Role = Literal["user", "assistant"]
# Of an answer: still being written, ended by itself, stopped by the user, cut off by an error or
# by the length limit. What the user says is always complete.
State = Literal["writing", "complete", "stopped", "failed"]
Kind = Literal["image", "audio"]

TITLE_LENGTH = 60


@dataclass(frozen=True)
class Attachment:
    """A file that came with a message, kept under its SHA-256.

    `detail` is "640 x 480" of a picture and "3.2 s" of a recording; `transcript` what was heard.
    """

    sha256: str
    kind: Kind
    name: str
    size: int
    detail: str = ""
    transcript: str = ""

    def with_transcript(self, text: str) -> "Attachment":
        return replace(self, transcript=text)


@dataclass(frozen=True)
class Draft:
    """What is typed and staged, and not sent yet."""

    text: str = ""
    attachments: tuple[Attachment, ...] = ()


@dataclass
class Message:
    """One side's words. `parent` is the message that it follows."""

    id: str
    parent: str | None
    role: Role
    text: str
    attachments: tuple[Attachment, ...] = ()
    state: State = "complete"
    created: datetime = field(default_factory=lambda: datetime.now(UTC))


class Conversation:
    """Messages by id; `head` is the last one of the branch that is read."""

    def __init__(self, id: str | None = None, title: str = "", system: str = "") -> None:
        self.id = id or _new_id()
        self.title, self.system = title, system
        self.head: str | None = None
        self._messages: dict[str, Message] = {}

    def snapshot(self) -> "Conversation":
        """A copy for another thread, which later changes don't reach."""
        copy = self.outline()
        copy._messages = {id: replace(message) for id, message in self._messages.items()}
        return copy

    def outline(self) -> "Conversation":
        """A copy without the messages."""
        copy = Conversation(self.id, self.title, self.system)
        copy.head = self.head
        return copy

    def __getitem__(self, id: str) -> Message:
        return self._messages[id]

    def __iter__(self) -> Iterator[Message]:
        """All messages of all branches, in the order in which they came."""
        return iter(self._messages.values())

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def thread(self) -> list[Message]:
        """The branch that is read, from its first message to its last."""
        return self.branch(self.head)

    @property
    def question(self) -> Message | None:
        """What the user said last in the branch that is read."""
        return next((m for m in reversed(self.thread) if m.role == "user"), None)

    def branch(self, id: str | None) -> list[Message]:
        """A message and all that it follows, the first first."""
        found = []
        while id is not None:
            found.append(message := self._messages[id])
            id = message.parent
        return found[::-1]

    def add(self, message: Message) -> Message:
        """Put a message where its parent says, and read its branch."""
        self._messages[message.id] = message
        self.head = message.id
        if not self.title and message.role == "user":
            self.title = title_of(message)
        return message

    def say(self, text: str, attachments: tuple[Attachment, ...] = ()) -> Message:
        """The user's next message."""
        return self.add(Message(_new_id(), self.head, "user", text, attachments))

    def answer(self) -> Message:
        """An empty answer to the head, to be written."""
        return self.add(Message(_new_id(), self.head, "assistant", "", state="writing"))

    def edit(self, id: str, text: str) -> Message:
        """Say it differently: a branch from where the message stood, its attachments kept."""
        old = self._messages[id]
        return self.add(Message(_new_id(), old.parent, old.role, text, old.attachments))

    def regenerate(self, id: str) -> Message:
        """Another answer, still empty, beside one that is there."""
        self.head = self._messages[id].parent
        return self.answer()

    def take_back(self, id: str) -> None:
        """Remove a message and its answers; what was read before it was said is read again."""
        parent = self._messages[id].parent
        gone = [message.id for message in self if id in (message.id, message.parent)]
        for each in gone:
            del self._messages[each]
        self.head = parent
        if others := [message for message in self if message.parent == parent]:
            self.turn_to(others[-1].id)
        if not self._messages:
            self.title = ""

    def siblings(self, id: str) -> list[Message]:
        """A message and those that stand in its place on other branches."""
        parent = self._messages[id].parent
        return [message for message in self if message.parent == parent]

    def version(self, id: str) -> tuple[int, int]:
        """Which of the messages in its place one is, from 1, and how many there are."""
        versions = self.siblings(id)
        return versions.index(self._messages[id]) + 1, len(versions)

    def turn_to(self, id: str) -> None:
        """Read the branch of a message, down to the newest answer below it."""
        self.head = id
        while children := [message for message in self if message.parent == self.head]:
            self.head = children[-1].id


def title_of(message: Message) -> str:
    """The first line of what was said, else the name of what was shown."""
    line = next((line.strip() for line in message.text.splitlines() if line.strip()), "")
    if not line and message.attachments:
        line = message.attachments[0].name
    return line if len(line) <= TITLE_LENGTH else f"{line[: TITLE_LENGTH - 1].rstrip()}…"


def _new_id() -> str:
    return uuid.uuid4().hex
