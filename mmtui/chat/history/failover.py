"""A history that writes to a temporary store while the real one fails, and retries later."""

import os
import shutil
import tempfile
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from mmtui.chat.conversation import Attachment, Conversation, Draft
from mmtui.chat.history.conversation_index import Summary
from mmtui.chat.history.database import BUSY_TIMEOUT_S, HistoryError
from mmtui.chat.history.history import UNDO_S, History
from mmtui.chat.notice import Notice
from mmtui.errors import InputError, MmtuiError

CHAT_BUSY_TIMEOUT_S = 1.0  # how long a chat waits for a lock before it uses the spare store
RETRY_S = 0.05  # how long each retry waits

Write = Callable[[History], object]
T = TypeVar("T")


class MemoryHistory(History):
    """A store in memory, which can't store attachments."""

    def __init__(self) -> None:
        super().__init__(Path(os.devnull), is_in_memory=True)

    def _claim_drafting(self) -> bool:
        return True  # no other instance can see this store


@dataclass(frozen=True)
class WriteFailure:
    """Why a write failed: a short reason, a full message and a hint."""

    reason: str
    message: str
    hint: str | None

    @property
    def notice(self) -> Notice:
        """The failure as a notice for the user."""
        return Notice(self.message, self.hint)


@dataclass
class _PendingWrite:
    key: Hashable
    write: Write


class FailoverHistory:
    """A history whose failed writes are queued and retried in order before the next write.

    Queued writes also go to a spare store, in a temporary folder or in memory. Only one thread at
    a time may use this class.
    """

    def __init__(
        self,
        history: History | None,
        notify: Callable[[Notice], object],
        reopen: Callable[[], History] | None = None,
    ) -> None:
        """Wrap a history.

        Args:
            history: The store; None if it could not be opened.
            notify: Called when a write fails, and when all queued writes have succeeded.
            reopen: Opens the store if `history` is None.
        """
        self._history, self._notify, self._reopen = history, notify, reopen
        self._spare: History | None = None
        self._folder: Path | None = None  # the temporary folder of the spare store
        self._old_folders: list[Path] = []  # deleted on close: pictures in them may be shown
        self._copied: set[str] = set()  # ids of the conversations in the spare store
        self._pending: list[_PendingWrite] = []
        self.failure: WriteFailure | None = None
        if history is None or history.is_readonly:
            self.catch_up()

    # Writing

    def write(
        self, write: Write, conversation: Conversation | None = None, key: Hashable = None
    ) -> None:
        """Write to the history, or to the spare store if that fails.

        Args:
            write: Function that writes; it may be called again later.
            conversation: Snapshot of the conversation that it belongs to, with all messages.
            key: Replaces the queued write before it if that has the same key.
        """
        if key is not None and self._pending and self._pending[-1].key == key:
            self._pending[-1] = _PendingWrite(key, write)
        else:
            self._pending.append(_PendingWrite(key, write))
        if not self.catch_up():
            self._write_spare(write, conversation)

    def catch_up(self) -> bool:
        """Retry the queued writes; return whether all are in the history now."""
        try:
            history = self._open_history()
            while self._pending:
                self._write_first(history)
        except MmtuiError as error:
            self._record_failure(error)
            return False
        if self.failure is not None:
            self._clear_failure(history)
        return True

    def change(self, id: str, write: Callable[[History], T]) -> T:
        """Change any stored conversation at once and return the result of `write`.

        Raises:
            MmtuiError: Neither the history nor the spare store can be changed.
        """
        if self.catch_up() and self._history is not None:
            return write(self._history)
        if id in self._copied and self._spare is not None:
            self._pending.append(_PendingWrite(None, write))
            return write(self._spare)
        assert self.failure is not None
        raise MmtuiError(self.failure.message, self.failure.hint)

    def add_attachment(self, data: bytes) -> str:
        """Store the bytes of an attachment and return their SHA-256.

        Raises:
            MmtuiError: The bytes can't be stored anywhere.
        """
        if self._history is not None:
            with suppress(MmtuiError):
                return self._history.add_attachment(data)
        self.catch_up()  # reports the failure
        spare = self._spare_store()
        try:
            sha256 = spare.add_attachment(data)
        except MmtuiError as error:
            hint = "free some disk space"
            raise MmtuiError("there is no space for an attachment", hint) from error
        spare_file = spare.file(Attachment(sha256, "image", "", len(data)))

        def move(history: History) -> None:
            with suppress(FileNotFoundError):  # the system may clean temporary folders
                history.add_attachment(spare_file.read_bytes())

        self._pending.append(_PendingWrite(None, move))
        self.catch_up()
        return sha256

    def adopt_draft(self, conversation: Conversation) -> Draft:
        """Move the unsent draft of the latest chat to `conversation` and return it.

        Returns:
            The draft; an empty one if there is none or another instance may be editing it.
        """
        unsent = self._read(lambda history: history.unsent_draft())
        if unsent is None:
            return Draft()
        id, draft = unsent
        self.write(lambda history: history.save_draft(conversation, draft), conversation)
        if id != conversation.id:
            self.write(lambda history: history.save_draft(Conversation(id), Draft()))
        return draft

    def purge(self) -> None:
        """Purge conversations deleted more than a day ago, unless a write has failed."""
        if self._history is not None and self.failure is None:
            with suppress(MmtuiError):  # the next purge retries
                self._history.purge(UNDO_S)

    def close(self) -> WriteFailure | None:
        """Retry the queued writes a last time and close the stores.

        Returns:
            The failure if some are still not in the history; its message names the folder that
            has them, if there is one. None if all were written.
        """
        if self._history is not None:
            self._history.set_busy_timeout(BUSY_TIMEOUT_S)
        is_written = self.catch_up()
        if self._history is not None:
            self._history.close(purge=is_written)
        failure = None if is_written else self._preserve_spare()
        for folder in self._old_folders:
            shutil.rmtree(folder, ignore_errors=True)
        return failure

    # Reading

    def file(self, attachment: Attachment) -> Path:
        """Return the file of an attachment. Any thread may call this.

        Raises:
            InputError: The file does not exist.
        """
        spare = self._spare
        if self._history is not None:
            try:
                return self._history.file(attachment)
            except InputError:
                if spare is None:
                    raise
        return self._spare_store().file(attachment) if spare is None else spare.file(attachment)

    def search(self, text: str, limit: int = 100) -> list[Summary]:
        """Return conversations that contain all words of `text`, the latest first."""
        found: dict[str, Summary] = {}
        for history in self._stores():
            for summary in history.search(text, limit):
                found.setdefault(summary.id, summary)
        return list(found.values())[:limit]

    def latest(self) -> str | None:
        """Return the id of the conversation that was written to last."""
        return next((id for history in self._stores() if (id := history.latest())), None)

    def conversation(self, id: str) -> tuple[Conversation, Draft]:
        """Return a conversation and its draft.

        Args:
            id: The id or its first characters.

        Raises:
            InputError: No conversation or more than one matches.
        """
        *others, last = self._stores()
        for history in others:
            with suppress(InputError):
                found = history.conversation(id)
                return found, history.draft(found.id)
        found = last.conversation(id)
        return found, last.draft(found.id)

    def recent_prompts(self) -> list[str]:
        """Return the latest messages of the user, the oldest first."""
        return self._read(lambda history: history.recent_prompts()) or []

    def _stores(self) -> list[History]:
        """Return the stores to read from, the one with the newest data first."""
        return [store for store in (self._spare, self._history) if store] or [self._spare_store()]

    def _read(self, read: Callable[[History], T]) -> T | None:
        """Call `read` with the history; notify and return None if that fails."""
        if self._history is None:
            return None
        try:
            return read(self._history)
        except MmtuiError as error:
            self._notify(_explain(error).notice)
            return None

    # Implementation

    def _write_first(self, history: History) -> None:
        try:
            self._pending[0].write(history)
        except MmtuiError:
            raise  # it stays queued
        except Exception:
            self._pending.pop(0)  # a bug must not block the writes after it
            raise
        self._pending.pop(0)

    def _open_history(self) -> History:
        if self._history is None:
            if self._reopen is None:
                raise HistoryError("this chat has no history", "restart mmtui", "no history")
            self._history = self._reopen()
        self._history.require_writable()
        return self._history

    def _record_failure(self, error: MmtuiError) -> None:
        before, self.failure = self.failure, _explain(error)
        if before is None and self._history is not None:
            self._history.set_busy_timeout(RETRY_S)
        if before is None or before.reason != self.failure.reason:
            is_in_memory = isinstance(self._spare_store(), MemoryHistory)
            place = "only in memory" if is_in_memory else f"in {self._folder}"
            message = f"{error}; for now, this chat is kept {place}"
            self._notify(Notice(message, error.hint))

    def _clear_failure(self, history: History) -> None:
        self.failure = None
        history.set_busy_timeout(CHAT_BUSY_TIMEOUT_S)
        self._drop_spare()
        self._notify(Notice("everything is in the history again", is_error=False))

    def _write_spare(self, write: Write, conversation: Conversation | None) -> None:
        try:
            self._copy_to_spare(conversation)
            write(self._spare_store())
        except MmtuiError:
            if isinstance(self._spare, MemoryHistory):
                return
            self._spare, self._copied = MemoryHistory(), set()
            self._write_spare(write, conversation)

    def _copy_to_spare(self, conversation: Conversation | None) -> None:
        """Copy the earlier messages of a conversation to the spare store, once."""
        if conversation is not None and conversation.id not in self._copied:
            for message in conversation:
                self._spare_store().save(conversation, message)
            self._copied.add(conversation.id)

    def _spare_store(self) -> History:
        """Return the spare store; create it in a temporary folder, else in memory."""
        if self._spare is None:
            try:
                self._folder = Path(tempfile.mkdtemp(prefix="mmtui-"))
                self._spare = History(self._folder / "mmtui")
            except (MmtuiError, OSError):
                self._spare = MemoryHistory()
        return self._spare

    def _preserve_spare(self) -> WriteFailure | None:
        spare, failure = self._spare_store(), self.failure
        assert failure is not None
        if spare.latest() is None:  # it is empty
            self._drop_spare()
            return None
        self._copy_files(spare)
        spare.close(purge=False)
        if isinstance(spare, MemoryHistory):
            message = f"this chat could not be saved: {failure.message}"
            return replace(failure, message=message)
        message = f"this chat is not in the history ({failure.reason}), but saved in {self._folder}"
        hint = f"XDG_DATA_HOME={self._folder} mmtui --resume continues it"
        return replace(failure, message=message, hint=hint)

    def _copy_files(self, spare: History) -> None:
        """Copy attachments that are stored in the history to the spare store."""
        if self._history is not None:
            for sha256 in spare.referenced_files():
                with suppress(MmtuiError, OSError):  # in the spare store already, or lost
                    spare.add_attachment(
                        self._history.file(Attachment(sha256, "image", "", 0)).read_bytes()
                    )

    def _drop_spare(self) -> None:
        if self._spare is not None:
            self._spare.close(purge=False)
        if self._folder is not None:
            self._old_folders.append(self._folder)
        self._spare, self._folder, self._copied = None, None, set()


def _explain(error: MmtuiError) -> WriteFailure:
    reason = error.reason if isinstance(error, HistoryError) else str(error)
    return WriteFailure(reason, str(error), error.hint)
