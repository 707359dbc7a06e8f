"""The files of attachments, each under the SHA-256 of its bytes."""

import hashlib
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

from mmtui.chat.conversation import Attachment
from mmtui.errors import InputError
from mmtui.files import replacing


class AttachmentStore:
    """A folder of files that never change. Any thread may use it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, data: bytes) -> str:
        """Store bytes; returns their SHA-256. Raises OSError if they can't be written."""
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._path(sha256)
        if path.exists():
            path.touch()  # wanted again: `remove_unreferenced` must not take it
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as aside:
                aside.write_bytes(data)
        return sha256

    def path(self, attachment: Attachment) -> Path:
        """Where an attachment is. Raises InputError if it is gone."""
        path = self._path(attachment.sha256)
        if not path.is_file():
            raise InputError(f"{attachment.name} is no longer among the stored attachments")
        return path

    def remove_unreferenced(self, named: Set[str], before: float) -> None:
        """Delete files whose SHA-256 is not among `named`, and that are older than `before`."""
        for file in self._folder.glob("??/*"):
            with suppress(FileNotFoundError):  # another instance may be at it, too
                if file.name not in named and file.stat().st_mtime <= before:
                    file.unlink()

    def _path(self, sha256: str) -> Path:
        if len(sha256) != 64 or not sha256.isalnum():
            raise InputError("the history names an attachment that can't be")
        return self._folder / sha256[:2] / sha256
