"""Where a chat is written: in the history; while that fails, elsewhere, until it works again."""

import os
import shutil
import tempfile
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from mmtui.chat.conversation import Attachment, Conversation, Draft
from mmtui.chat.history.database import BUSY_S, HistoryError
from mmtui.chat.history.history import UNDO_S, History, Summary
from mmtui.chat.notice import Notice
from mmtui.errors import InputError, MmtuiError

BUSY_TIMEOUT_S = 1.0  # how long a chat waits for another program before it writes elsewhere
RETRY_S = 0.05  # and how long at each further try

Write = Callable[[History], object]
T = TypeVar("T")


class MemoryHistory(History):
    """A store without a disk, in which attachments have no place."""

    def __init__(self) -> None:
        super().__init__(Path(os.devnull), is_in_memory=True)

    def _claim_drafting(self) -> bool:
        return True  # no other instance knows of it


@dataclass(frozen=True)
class WriteFailure:
    """Why something is not in the history: a few words, a sentence, and the cure."""

    reason: str
    message: str
    hint: str | None

    @property
    def notice(self) -> Notice:
        return Notice(self.message, self.hint)


@dataclass
class _Pending:
    key: Hashable
    write: Write


class FailoverHistory:
    """Writes in order, and what failed once more before what comes next. For one thread at a time.

    What is not in the history yet is in a spare store meanwhile: a temporary folder, or memory.
    """

    def __init__(
        self,
        history: History | None,
        notify: Callable[[Notice], object],
        reopen: Callable[[], History] | None = None,
    ) -> None:
        """Begin to write.

        Args:
            history: The store; None if it could not be opened.
            notify: Called when a write fails, and when everything is in the history again.
            reopen: Opens the store anew, where it could not be opened before.
        """
        self._history, self._notify, self._reopen = history, notify, reopen
        self._spare: History | None = None
        self._folder: Path | None = None  # the temporary one that has the spare store
        self._left_folders: list[Path] = []  # where pictures may still be read
        self._copied: set[str] = set()  # ids of the conversations in the spare store
        self._pending: list[_Pending] = []
        self.failure: WriteFailure | None = None
        if history is None or history.is_readonly:
            self.catch_up()

    # Writing

    def write(self, write: Write, whole: Conversation | None = None, key: Hashable = None) -> None:
        """Write, in the spare store if that fails.

        Args:
            write: What is to be done. It must not change afterwards.
            whole: The conversation that it belongs to with all its messages, as they are.
            key: Of two writes in a row with one key only the second is needed.
        """
        if key is not None and self._pending and self._pending[-1].key == key:
            self._pending[-1] = _Pending(key, write)
        else:
            self._pending.append(_Pending(key, write))
        if not self.catch_up():
            self._write_spare(write, whole)

    def catch_up(self) -> bool:
        """Try to write what could not be written before; whether all is in the history now."""
        try:
            history = self._opened()
            while self._pending:
                self._write_first(history)
        except MmtuiError as error:
            self._begin_failure(error)
            return False
        if self.failure is not None:
            self._end_failure(history)
        return True

    def change(self, id: str, write: Callable[[History], T]) -> T:
        """Change a conversation that may be another one, now. Raises MmtuiError if that fails."""
        if self.catch_up() and self._history is not None:
            return write(self._history)
        if id in self._copied and self._spare is not None:
            self._pending.append(_Pending(None, write))
            return write(self._spare)
        assert self.failure is not None
        raise MmtuiError(self.failure.message, self.failure.hint)

    def add_attachment(self, data: bytes) -> str:
        """Store the bytes of an attachment; returns their SHA-256. Raises MmtuiError."""
        if self._history is not None:
            with suppress(MmtuiError):
                return self._history.add_attachment(data)
        self.catch_up()  # tells why
        spare = self._spare_store()
        try:
            sha256 = spare.add_attachment(data)
        except MmtuiError as error:
            hint = "free some disk space"
            raise MmtuiError("there is no place for an attachment", hint) from error
        kept = spare.file(Attachment(sha256, "image", "", len(data)))

        def move(history: History) -> None:
            with suppress(FileNotFoundError):  # temporary folders are emptied by others, too
                history.add_attachment(kept.read_bytes())

        self._pending.append(_Pending(None, move))
        self.catch_up()
        return sha256

    def adopt_draft(self, taker: Conversation) -> Draft:
        """Hand on the draft of the chat begun last; an empty one if it was sent, or may be soon."""
        left = self._read(lambda history: history.unsent_draft())
        if left is None:
            return Draft()
        id, draft = left
        self.write(lambda history: history.save_draft(taker, draft), taker)
        if id != taker.id:
            self.write(lambda history: history.save_draft(Conversation(id), Draft()))
        return draft

    def purge(self) -> None:
        """Delete what was deleted a day ago, unless a write has failed."""
        if self._history is not None and self.failure is None:
            with suppress(MmtuiError):  # another time
                self._history.purge(UNDO_S)

    def close(self) -> WriteFailure | None:
        """Try a last time. What is not in the history then stays in a folder, which is told."""
        if self._history is not None:
            self._history.wait_up_to(BUSY_S)
        is_written = self.catch_up()
        if self._history is not None:
            self._history.close(purge=is_written)
        left = None if is_written else self._leave_spare()
        for folder in self._left_folders:
            shutil.rmtree(folder, ignore_errors=True)
        return left

    # Reading

    def file(self, attachment: Attachment) -> Path:
        """Where an attachment is. Raises InputError if it is gone. Any thread may call it."""
        spare = self._spare
        if self._history is not None:
            try:
                return self._history.file(attachment)
            except InputError:
                if spare is None:
                    raise
        return self._spare_store().file(attachment) if spare is None else spare.file(attachment)

    def search(self, text: str, limit: int = 100) -> list[Summary]:
        """Conversations in which all words of `text` occur, what was written last first."""
        found: dict[str, Summary] = {}
        for history in self._stores():
            for summary in history.search(text, limit):
                found.setdefault(summary.id, summary)
        return list(found.values())[:limit]

    def latest(self) -> str | None:
        """The id of the conversation that was written to last."""
        return next((id for history in self._stores() if (id := history.latest())), None)

    def conversation(self, id: str) -> tuple[Conversation, Draft]:
        """The one whose id is, or begins with, `id`. Raises InputError if there is none."""
        *others, last = self._stores()
        for history in others:
            with suppress(InputError):
                found = history.conversation(id)
                return found, history.draft(found.id)
        found = last.conversation(id)
        return found, last.draft(found.id)

    def recent_prompts(self) -> list[str]:
        """What the user said last, the oldest first."""
        return self._read(lambda history: history.recent_prompts()) or []

    def _stores(self) -> list[History]:
        """Those that can be read, the one with the newest first."""
        return [store for store in (self._spare, self._history) if store] or [self._spare_store()]

    def _read(self, read: Callable[[History], T]) -> T | None:
        """From the history; None if it can't be read, which is told."""
        if self._history is None:
            return None
        try:
            return read(self._history)
        except MmtuiError as error:
            self._notify(_explain(error).notice)
            return None

    # How

    def _write_first(self, history: History) -> None:
        try:
            self._pending[0].write(history)
        except MmtuiError:
            raise  # it stays, for another time
        except Exception:
            self._pending.pop(0)  # a bug must not hold up all that comes after it
            raise
        self._pending.pop(0)

    def _opened(self) -> History:
        if self._history is None:
            if self._reopen is None:
                raise HistoryError("this chat has no history", "start mmtui anew", "no history")
            self._history = self._reopen()
        self._history.require_writable()
        return self._history

    def _begin_failure(self, error: MmtuiError) -> None:
        before, self.failure = self.failure, _explain(error)
        if before is None and self._history is not None:
            self._history.wait_up_to(RETRY_S)
        if before is None or before.reason != self.failure.reason:
            is_in_memory = isinstance(self._spare_store(), MemoryHistory)
            place = "only in memory" if is_in_memory else f"in {self._folder}"
            message = f"{error}; meanwhile this chat is kept {place}"
            self._notify(Notice(message, error.hint))

    def _end_failure(self, history: History) -> None:
        self.failure = None
        history.wait_up_to(BUSY_TIMEOUT_S)
        self._drop_spare()
        self._notify(Notice("everything is in the history again", is_error=False))

    def _write_spare(self, write: Write, whole: Conversation | None) -> None:
        try:
            self._copy_to_spare(whole)
            write(self._spare_store())
        except MmtuiError:
            if isinstance(self._spare, MemoryHistory):
                return
            self._spare, self._copied = MemoryHistory(), set()
            self._write_spare(write, whole)

    def _copy_to_spare(self, whole: Conversation | None) -> None:
        """What was said in a conversation before must not be missing there."""
        if whole is not None and whole.id not in self._copied:
            for message in whole:
                self._spare_store().save(whole, message)
            self._copied.add(whole.id)

    def _spare_store(self) -> History:
        """A store in a temporary folder; in memory where there is no place for one."""
        if self._spare is None:
            try:
                self._folder = Path(tempfile.mkdtemp(prefix="mmtui-"))
                self._spare = History(self._folder / "mmtui")
            except (MmtuiError, OSError):
                self._spare = MemoryHistory()
        return self._spare

    def _leave_spare(self) -> WriteFailure | None:
        spare, failure = self._spare_store(), self.failure
        assert failure is not None
        if spare.latest() is None:  # nothing was said
            self._drop_spare()
            return None
        self._copy_files(spare)
        spare.close(purge=False)
        if isinstance(spare, MemoryHistory):
            message = f"this chat could not be kept: {failure.message}"
            return replace(failure, message=message)
        message = f"not in the history ({failure.reason}), but kept in {self._folder}: this chat"
        hint = f"XDG_DATA_HOME={self._folder} mmtui --resume goes on with it"
        return replace(failure, message=message, hint=hint)

    def _copy_files(self, spare: History) -> None:
        """Attachments may have found their place where the messages did not."""
        if self._history is not None:
            for sha256 in spare.referenced_files():
                with suppress(MmtuiError, OSError):  # it is there already, or nowhere
                    spare.add_attachment(
                        self._history.file(Attachment(sha256, "image", "", 0)).read_bytes()
                    )

    def _drop_spare(self) -> None:
        if self._spare is not None:
            self._spare.close(purge=False)
        if self._folder is not None:
            self._left_folders.append(self._folder)
        self._spare, self._folder, self._copied = None, None, set()


def _explain(error: MmtuiError) -> WriteFailure:
    reason = error.reason if isinstance(error, HistoryError) else str(error)
    return WriteFailure(reason, str(error), error.hint)
