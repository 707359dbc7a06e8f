"""The history in a background thread, so that the user interface never waits for the disk.

Operations run in the order of their calls: a read sees every write before it.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from mmtui.chat.conversation import Attachment, Conversation, Draft, Message, join_drafts
from mmtui.chat.history.conversation_index import Summary
from mmtui.chat.history.failover import FailoverHistory, Write, WriteFailure
from mmtui.chat.history.history import History
from mmtui.chat.notice import Notice
from mmtui.errors import MmtuiError, UsageError, explain

WRITE_TIMEOUT_S = 0.2  # how long a screen waits until a message is stored

Found = tuple[Conversation, Draft]
T = TypeVar("T")


class Store:
    """A history in a background thread. Writes store a copy of the conversation.

    Attributes:
        revision: The number of writes so far that change lists of conversations.
    """

    def __init__(
        self,
        history: History | None,
        notify: Callable[[Notice], object],
        reopen: Callable[[], History] | None = None,
    ) -> None:
        """Take the arguments of `FailoverHistory`; `notify` is called in the background thread."""
        self._notify = notify
        self._thread = ThreadPoolExecutor(1, "history")
        self._history = self._thread.submit(FailoverHistory, history, notify, reopen).result()
        self._retried: Future[bool] | None = None
        self.revision = 0

    @property
    def failure(self) -> WriteFailure | None:
        """Why the latest write failed; None if all writes are in the history."""
        return self._history.failure

    # Writing

    def save(self, conversation: Conversation, message: Message) -> None:
        """Write a new or changed message and the state of its conversation."""
        snapshot, outline = conversation.snapshot(), conversation.outline()
        copy = snapshot[message.id]
        if message.state != "writing" or not message.text:  # else nothing else has changed
            self.revision += 1
        self._write(snapshot, lambda history: history.save(outline, copy), ("message", message.id))

    def update(self, conversation: Conversation) -> None:
        """Write the system prompt and the current branch."""
        outline = conversation.outline()
        self._write(conversation.snapshot(), lambda history: history.update(outline))

    def rename(self, conversation: Conversation) -> None:
        """Write the title of a conversation."""
        id, title = conversation.id, conversation.title
        self.revision += 1
        self._write(conversation.snapshot(), lambda history: history.rename(id, title))

    def save_draft(self, conversation: Conversation, draft: Draft) -> None:
        """Write the draft of a conversation."""
        outline = conversation.outline()
        self._write(
            conversation.snapshot(),
            lambda history: history.save_draft(outline, draft),
            ("draft", conversation.id),
        )

    def add_to_draft(self, conversation: Conversation, added: Draft) -> None:
        """Add to the draft of a conversation that is not open."""
        outline = conversation.outline()
        self.revision += 1

        def add(history: History) -> None:
            history.save_draft(outline, join_drafts([history.draft(outline.id), added]))

        self._write(conversation.snapshot(), add)

    def retract(self, conversation: Conversation, id: str, draft: Draft) -> None:
        """Delete a message with its replies and save its content as a draft."""
        outline = conversation.outline()
        self.revision += 1
        snapshot = conversation.snapshot()
        self._write(snapshot, lambda history: history.retract(outline, id, draft))

    def delete_messages(self, conversation: Conversation, ids: list[str]) -> None:
        """Delete messages of a conversation for good, and write its current branch."""
        outline = conversation.outline()
        self._write(conversation.snapshot(), lambda history: history.delete_messages(outline, ids))

    def add_attachment(self, data: bytes) -> str:
        """Store the bytes of an attachment and return their SHA-256. Blocks; thread-safe.

        Raises:
            MmtuiError: The bytes can't be stored anywhere.
        """
        return self._thread.submit(self._history.add_attachment, data).result()

    def change(self, id: str, write: Callable[[History], T]) -> "Future[T]":
        """Call `write` to change any stored conversation, such as one in the list."""
        self.revision += 1
        return self._thread.submit(self._history.change, id, write)

    def adopt_draft(self, conversation: Conversation) -> "Future[Draft]":
        """Move the unsent draft of the latest chat to `conversation` and return it."""
        return self._thread.submit(self._history.adopt_draft, conversation.outline())

    def flush(self) -> "Future[None]":
        """Return a future that is done when all writes before this call are done."""
        return self._thread.submit(lambda: None)

    async def wait_until_written(self) -> None:
        """Wait until all messages are stored, for at most WRITE_TIMEOUT_S seconds."""
        if self.failure is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.wrap_future(self.flush()), WRITE_TIMEOUT_S)

    def retry(self) -> None:
        """Retry the failed writes, if there are any."""
        if self.failure is not None and (self._retried is None or self._retried.done()):
            self._retried = self._thread.submit(self._history.catch_up)

    def purge(self) -> None:
        """Delete conversations that were deleted more than a day ago for good."""
        self._thread.submit(self._history.purge)

    def close(self) -> WriteFailure | None:
        """Finish all writes and close the history; return why some failed, if any."""
        closed = self._thread.submit(self._history.close)
        self._thread.shutdown()
        return closed.result()

    # Reading

    def find(self, id: str | None = None) -> "Future[Found]":
        """Return a conversation, by default the latest one, and its draft.

        The future raises UsageError if the history is empty, and InputError if no conversation
        matches `id`.
        """

        def find() -> Found:
            found = id or self._history.latest()
            if found is None:
                raise UsageError("there is no conversation to resume", "start one: mmtui")
            return self._history.conversation(found)

        return self._thread.submit(find)

    def search(self, words: str, limit: int = 100) -> "Future[list[Summary]]":
        """Return conversations that contain all words; all conversations if `words` is empty."""
        return self._thread.submit(self._history.search, words, limit)

    def recent_prompts(self) -> "Future[list[str]]":
        """Return the latest messages of the user in any conversation, the oldest first."""
        return self._thread.submit(self._history.recent_prompts)

    def file(self, attachment: Attachment) -> Path:
        """Return the file of an attachment. Thread-safe.

        Raises:
            InputError: The file does not exist.
        """
        return self._history.file(attachment)

    def _write(self, snapshot: Conversation, write: Write, key: object = None) -> None:
        self._thread.submit(self._history.write, write, snapshot, key).add_done_callback(
            self._check
        )

    def _check(self, written: "Future[None]") -> None:
        """Notify of errors that FailoverHistory does not handle."""
        if (error := written.exception()) is not None:
            known = explain(error) if isinstance(error, Exception) else MmtuiError(repr(error))
            self._notify(Notice(str(known), known.hint))
