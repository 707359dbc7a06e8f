"""Where a chat is kept: in its history, else in a temporary folder, else in memory."""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mmtui.chat.conversation import Attachment, Conversation
from mmtui.chat.history import History, MemoryHistory
from mmtui.errors import InputError, MmtuiError


class Keeping:
    """`history` None: it could not be opened, which was told. `tell` gets what broke it, once."""

    def __init__(self, history: History | None, tell: Callable[[MmtuiError], None]) -> None:
        self._tell = tell
        self._is_told = history is None
        self._temporary: Path | None = None
        self._left: History | None = None  # which could not be used any more
        self.history = history or self._elsewhere(Conversation())
        self.write(Conversation(), History.said)  # a damaged one is left before it is written to

    def write(self, conversation: Conversation, write: Callable[[History], object]) -> None:
        """Write; if that fails, go on elsewhere."""
        try:
            write(self.history)
        except MmtuiError as error:
            if self._is_told:
                return
            self._is_told = True
            self._tell(error)
            self._left, self.history = self.history, self._elsewhere(conversation)
            with suppress(MmtuiError):  # an attachment may have no place
                write(self.history)

    def keep(self, conversation: Conversation, data: bytes) -> str:
        """Store the bytes of an attachment; returns their SHA-256. Raises MmtuiError."""
        sha256 = ""

        def keep(history: History) -> None:
            nonlocal sha256
            sha256 = history.keep(data)

        self.write(conversation, keep)
        if not sha256:
            raise MmtuiError("there is no place for an attachment", "free some disk space")
        return sha256

    def file(self, attachment: Attachment) -> Path:
        """Where an attachment is kept. Raises InputError if it is gone."""
        try:
            return self.history.file(attachment)
        except InputError:
            if self._left is None:
                raise
            return self._left.file(attachment)

    def close(self) -> None:
        self.history.close()
        if self._left is not None:
            self._left.close(purge=False)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _elsewhere(self, conversation: Conversation) -> History:
        """A temporary folder; where there is no place for what was said, memory."""
        with suppress(MmtuiError, OSError):
            self._temporary = Path(tempfile.mkdtemp(prefix="mmtui-"))
            return _with(History(self._temporary), conversation)
        return _with(MemoryHistory(), conversation)


def _with(history: History, conversation: Conversation) -> History:
    for message in conversation:
        history.save(conversation, message)
    return history
