"""What a model has read of a conversation, on disk, so that a long one is resumed at once.

A file holds a digest of all that follows, the length of a header, the header as JSON, and the state
of the engine's KV cache. It is only a cache: a file that is damaged, or that another model, engine
or version wrote, is ignored.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mmtui import __version__, machine
from mmtui.pipeline import prompt_folder
from mmtui.pipeline.engines.engine import Engine
from mmtui.pipeline.sequence import Position, count_common

MIN_NEW = 256  # positions that reading or writing a file must save
_DIGEST_BYTES, _LENGTH_BYTES = 32, 8
_CHUNK_BYTES = 8 << 20


@dataclass(frozen=True)
class PromptStorage:
    """Where a conversation is stored.

    Attributes:
        conversation: The id of the conversation, which names the file.
        max_bytes: Limit of the size of all files together.
    """

    conversation: str
    max_bytes: int


class PromptFile:
    """The file of a conversation."""

    def __init__(self, storage: PromptStorage, engine: Engine, model: str) -> None:
        """Name the file without opening it.

        Args:
            storage: Where the conversation is stored.
            engine: The engine whose cache is stored.
            model: Identifies the weights of the model.
        """
        self._engine, self._max_bytes = engine, storage.max_bytes
        self._key = f"mmtui {__version__} {engine.state_format} {model}"
        self._path = prompt_folder.get_path(storage.conversation)

    def restore(self, sequence: Sequence[Position]) -> None:
        """Restore the cache, if the file saves reading enough of `sequence`."""
        try:
            with self._path.open("rb") as file:
                digest = file.read(_DIGEST_BYTES)
                stored = self._read_header(file)
                cached = count_common(self._engine.cached, sequence)
                if count_common(stored, sequence) < cached + MIN_NEW:
                    return
                file.seek(_DIGEST_BYTES)
                data = file.read()
            if hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest() != digest:
                self._path.unlink()
                return
            length = int.from_bytes(data[:_LENGTH_BYTES], "little")
            self._engine.load_state(stored, memoryview(data)[_LENGTH_BYTES + length :])
            os.utime(self._path)
        except (OSError, ValueError, TypeError, KeyError):
            return

    def save(self) -> Iterator[None]:
        """Store the cache, if that saves reading enough when the conversation is resumed.

        Yields:
            None between parts; the file is not changed if the caller stops the iteration.
        """
        positions = list(self._engine.cached)
        common = count_common(self._read_positions(), positions)
        if len(positions) - common < max(MIN_NEW, common // 4):  # the file grows in large steps
            return
        state = self._engine.dump_state(min(self._max_bytes, machine.get_free_memory() // 4))
        if state is None:
            return
        header = json.dumps({"key": self._key, "positions": positions}).encode()
        length = len(header).to_bytes(_LENGTH_BYTES, "little")
        with suppress(OSError):  # the disk is full or read-only
            yield from self._write([memoryview(length), memoryview(header), state])
            prompt_folder.remove_oldest(self._max_bytes)

    def _write(self, parts: list[memoryview]) -> Iterator[None]:
        folder = self._path.parent
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        size = sum(len(part) for part in parts)
        if size > self._max_bytes or size > shutil.disk_usage(folder).free // 2:
            return
        digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        # Only the user can read a temporary file.
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            try:
                file.write(bytes(_DIGEST_BYTES))
                for part in parts:
                    for start in range(0, len(part), _CHUNK_BYTES):
                        chunk = part[start : start + _CHUNK_BYTES]
                        digest.update(chunk)
                        file.write(chunk)
                        yield
                file.seek(0)
                file.write(digest.digest())
                file.flush()
                Path(file.name).replace(self._path)
            finally:
                Path(file.name).unlink(missing_ok=True)

    def _read_positions(self) -> list[Position]:
        """Return the positions in the file; none if it can't be used."""
        try:
            with self._path.open("rb") as file:
                file.seek(_DIGEST_BYTES)
                return self._read_header(file)
        except (OSError, ValueError, TypeError, KeyError):
            return []

    def _read_header(self, file: BinaryIO) -> list[Position]:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        header = json.loads(file.read(min(length, self._max_bytes)))
        if header["key"] != self._key:
            return []
        return [
            part if isinstance(part, int) else (part[0], part[1]) for part in header["positions"]
        ]
