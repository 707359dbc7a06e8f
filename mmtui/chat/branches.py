"""The branches of a conversation as a tree: list, show and delete them."""

from dataclasses import dataclass

from mmtui.chat.conversation import Conversation, Message
from mmtui.chat.session import Session
from mmtui.text import one_line, remove_marks

MAX_CHARACTERS = 80  # of a message that are shown


@dataclass(frozen=True)
class TreeMessage:
    """A message as a row of the tree.

    Attributes:
        message: The message.
        version: The number of this version, from 1.
        versions: The number of versions.
        depth: How many messages with several versions it follows.
        is_shown: Whether it is in the current branch.
    """

    message: Message
    version: int
    versions: int
    depth: int
    is_shown: bool

    @property
    def label(self) -> str:
        """The speaker and the start of the message, in one line."""
        speaker = "you" if self.message.role == "user" else "mmtui"
        text = " ".join(remove_marks(self.message.text).split())
        if not text:
            text = ", ".join(file.name for file in self.message.attachments) or "(empty)"
        text = text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"
        version = f" {self.version}/{self.versions}" if self.versions > 1 else ""
        return f"{speaker}{version}: {one_line(text)}"


def list_tree(conversation: Conversation) -> list[TreeMessage]:
    """Return all messages: each before those after it, and versions below each other.

    Only versions are indented, so that a conversation without any is a plain list.
    """
    after: dict[str | None, list[Message]] = {}
    for message in conversation:
        after.setdefault(message.parent, []).append(message)
    shown = {message.id for message in conversation.thread}
    rows: list[TreeMessage] = []
    stack: list[TreeMessage] = []

    def push_versions(parent: str | None, depth: int) -> None:
        versions = after.get(parent, [])
        count = len(versions)
        for number in range(count, 0, -1):
            message = versions[number - 1]
            stack.append(TreeMessage(message, number, count, depth, message.id in shown))

    push_versions(None, 0)
    while stack:
        rows.append(row := stack.pop())
        push_versions(row.message.id, row.depth + (row.versions > 1))
    return rows


def show_branch(session: Session, id: str) -> None:
    """Show the branch of a message, unless it is shown already.

    Raises:
        UsageError: A reply is being written.
    """
    session.require_idle()
    if id not in {message.id for message in session.conversation.thread}:
        session.conversation.show_branch(id)
        session.store.update(session.conversation)
        session.prepare()


def delete_branch(session: Session, id: str) -> None:
    """Delete a message and all messages after it, for good.

    Raises:
        UsageError: A reply is being written.
    """
    session.require_idle()
    deleted = session.conversation.delete(id)
    session.store.delete_messages(session.conversation, deleted)
    session.prepare()
