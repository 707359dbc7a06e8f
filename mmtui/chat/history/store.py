"""What a chat keeps, written and read in a thread of its own: no screen waits for a disk.

All is done in the order in which it was asked for, so that whoever reads finds what was written.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from mmtui.chat.conversation import Attachment, Conversation, Draft, Message
from mmtui.chat.history.failover import FailoverHistory, Write, WriteFailure
from mmtui.chat.history.history import History, Summary
from mmtui.chat.notice import Notice
from mmtui.errors import MmtuiError, UsageError, explain

WRITTEN_S = 0.2  # how long a screen waits at most before it shows what is not stored yet

Found = tuple[Conversation, Draft]
T = TypeVar("T")


class Store:
    """Takes copies, which the chat may go on changing. What it returns as a Future may fail."""

    def __init__(
        self,
        history: History | None,
        notify: Callable[[Notice], object],
        reopen: Callable[[], History] | None = None,
    ) -> None:
        """Take the arguments of `FailoverHistory`; `notify` is called in the writing thread."""
        self._notify = notify
        self._thread = ThreadPoolExecutor(1, "history")
        self._history = self._thread.submit(FailoverHistory, history, notify, reopen).result()
        self._retried: Future[bool] | None = None

    @property
    def failure(self) -> WriteFailure | None:
        """Why something is not in the history."""
        return self._history.failure

    # Writing

    def save(self, conversation: Conversation, message: Message) -> None:
        """A message, new or changed, and the conversation's state."""
        whole, outline = conversation.snapshot(), conversation.outline()
        copy = whole[message.id]
        self._write(whole, lambda history: history.save(outline, copy), ("message", message.id))

    def update(self, conversation: Conversation) -> None:
        """The system prompt and the branch that is read."""
        outline = conversation.outline()
        self._write(conversation.snapshot(), lambda history: history.update(outline))

    def rename(self, conversation: Conversation) -> None:
        """Its title."""
        id, title = conversation.id, conversation.title
        self._write(conversation.snapshot(), lambda history: history.rename(id, title))

    def save_draft(self, conversation: Conversation, draft: Draft) -> None:
        outline = conversation.outline()
        self._write(
            conversation.snapshot(),
            lambda history: history.save_draft(outline, draft),
            ("draft", conversation.id),
        )

    def retract(self, conversation: Conversation, id: str, draft: Draft) -> None:
        """A message and its answers become the draft that they came from."""
        outline = conversation.outline()
        whole = conversation.snapshot()
        self._write(whole, lambda history: history.retract(outline, id, draft))

    def add_attachment(self, data: bytes) -> str:
        """Store the bytes of an attachment; returns their SHA-256. Waits; any thread may call it.

        Raises MmtuiError if there is no place for them.
        """
        return self._thread.submit(self._history.add_attachment, data).result()

    def change(self, id: str, write: Callable[[History], T]) -> "Future[T]":
        """Change any conversation, in the history itself."""
        return self._thread.submit(self._history.change, id, write)

    def adopt_draft(self, taker: Conversation) -> "Future[Draft]":
        """What was typed and not sent in the chat before, for a new one."""
        return self._thread.submit(self._history.adopt_draft, taker.outline())

    def flush(self) -> "Future[None]":
        """Is done when everything until now is written."""
        return self._thread.submit(lambda: None)

    async def wait_until_written(self) -> None:
        """Wait until what was said would survive a crash, unless that takes long."""
        if self.failure is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.wrap_future(self.flush()), WRITTEN_S)

    def retry(self) -> None:
        """Try to write what could not be written, if there is anything."""
        if self.failure is not None and (self._retried is None or self._retried.done()):
            self._retried = self._thread.submit(self._history.catch_up)

    def purge(self) -> None:
        """Delete for good what was deleted a day ago."""
        self._thread.submit(self._history.purge)

    def close(self) -> WriteFailure | None:
        """Write everything; what can't be written stays in a folder, which is told."""
        left = self._thread.submit(self._history.close)
        self._thread.shutdown()
        return left.result()

    # Reading

    def find(self, id: str | None = None) -> "Future[Found]":
        """A conversation, by default the one written to last, and the draft left in it.

        Fails with UsageError if there is none at all, with InputError if none has that id.
        """

        def find() -> Found:
            found = id or self._history.latest()
            if found is None:
                raise UsageError("there is no conversation to resume", "begin one: mmtui")
            return self._history.conversation(found)

        return self._thread.submit(find)

    def search(self, words: str, limit: int = 100) -> "Future[list[Summary]]":
        """Conversations in which all these words occur; all without any."""
        return self._thread.submit(self._history.search, words, limit)

    def recent_prompts(self) -> "Future[list[str]]":
        """What the user said last, in any conversation, the oldest first."""
        return self._thread.submit(self._history.recent_prompts)

    def file(self, attachment: Attachment) -> Path:
        """Where an attachment is. Raises InputError if it is gone. Any thread may call it."""
        return self._history.file(attachment)

    def _write(self, whole: Conversation, write: Write, key: object = None) -> None:
        self._thread.submit(self._history.write, write, whole, key).add_done_callback(self._check)

    def _check(self, written: "Future[None]") -> None:
        """What fails otherwise than by the disk must not pass unseen."""
        if (error := written.exception()) is not None:
            known = explain(error) if isinstance(error, Exception) else MmtuiError(repr(error))
            self._notify(Notice(str(known), known.hint))
