"""Content-addressed storage of attachments: each file is named by its SHA-256."""

import hashlib
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

from mmtui.chat.conversation import Attachment
from mmtui.errors import InputError
from mmtui.files import replacing


class AttachmentStore:
    """A folder of immutable files. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, data: bytes) -> str:
        """Store bytes and return their SHA-256.

        Raises:
            OSError: The bytes can't be written.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._path(sha256)
        if path.exists():
            path.touch()  # used again: `remove_unreferenced` must not delete it
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(data)
        return sha256

    def path(self, attachment: Attachment) -> Path:
        """Return the file of an attachment.

        Raises:
            InputError: The file does not exist.
        """
        path = self._path(attachment.sha256)
        if not path.is_file():
            raise InputError(f"{attachment.name} is no longer among the stored attachments")
        return path

    def remove_unreferenced(self, referenced: Set[str], before: float) -> None:
        """Delete unreferenced files.

        Args:
            referenced: SHA-256 of the files to keep.
            before: Keep files modified after this time, in seconds since 1970.
        """
        for file in self._folder.glob("??/*"):
            with suppress(FileNotFoundError):  # another instance may delete it at the same time
                if file.name not in referenced and file.stat().st_mtime <= before:
                    file.unlink()

    def _path(self, sha256: str) -> Path:
        if len(sha256) != 64 or not sha256.isalnum():
            raise InputError("the history has an attachment with an invalid SHA-256")
        return self._folder / sha256[:2] / sha256
