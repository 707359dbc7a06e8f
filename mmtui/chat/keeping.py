"""Where a chat is kept: in its history, and when that can't be written, in a temporary folder."""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mmtui.chat.conversation import Attachment, Conversation
from mmtui.chat.history import History
from mmtui.errors import InputError, MmtuiError


class Keeping:
    """`history` None keeps all in a temporary folder. `tell` gets what broke it, once."""

    def __init__(self, history: History | None, tell: Callable[[MmtuiError], None]) -> None:
        self._tell = tell
        self._temporary: Path | None = None
        self._left: History | None = None  # which could not be written any more
        self.history = history or self._in_memory()

    def write(self, conversation: Conversation, write: Callable[[History], None]) -> None:
        """Write; if that fails, go on in a temporary folder, or without one."""
        try:
            write(self.history)
        except MmtuiError as error:
            if self._temporary is not None or self._left is not None:
                return  # it was told
            self._tell(error)
            self._left = self.history
            with suppress(MmtuiError):
                self.history = self._in_memory()
                for message in conversation:
                    self.history.save(conversation, message)
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
            self._left.close()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _in_memory(self) -> History:
        try:
            self._temporary = Path(tempfile.mkdtemp(prefix="mmtui-"))
        except OSError as error:
            raise MmtuiError(f"there is no temporary folder: {error}", "free some space") from error
        return History(self._temporary)
