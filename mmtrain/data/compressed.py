"""Stream text files that are plain or compressed by gzip or Zstandard."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mmtui.errors import InputError
from mmtui.files import find_encoding

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK_BYTES = 1 << 14  # of a compressed file, read at once
MAX_WINDOW_BYTES = 1 << 31  # the window of `zstd --long=31`
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
# A skippable frame, which holds no text, starts with a byte from 0x50 to 0x5f and these:
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"


@contextmanager
def open_text(path: Path) -> Iterator[io.TextIOWrapper]:
    """Open a text file, whose compression and encoding are detected by its first bytes.

    Bytes that are invalid in the encoding become U+FFFD.

    Raises:
        InputError: The file can't be read, is damaged, or is cut off. It is raised when the file is
            opened or while it is read.
    """
    import zstandard

    try:
        with path.open("rb") as file:
            # Peeking into a buffer, rather than seeking, works with pipes too.
            stream = io.BufferedReader(_decompress(path, file))
            encoding = find_encoding(stream.peek(4)[:4])
            with io.TextIOWrapper(stream, encoding, errors="replace") as text:
                yield text
    except EOFError as error:
        raise InputError(
            f"{path} is cut off: its compressed data has no end", "download or copy it again"
        ) from error
    except (OSError, zlib.error, zstandard.ZstdError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"{path} can't be read: {reason}") from error


def _decompress(path: Path, file: io.BufferedReader) -> io.RawIOBase:
    head = file.peek(4)[:4]
    if head.startswith(_GZIP):
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]  # has its methods
    if head == _ZSTD or (head[1:] == _ZSTD_SKIPPABLE and head[0] >> 4 == 5):
        return _ZstdFile(file)
    if not head and path.suffix in (".gz", ".zst"):
        raise EOFError
    return file  # type: ignore[return-value]


class _ZstdFile(io.RawIOBase):
    """A stream of the decompressed frames of a file.

    Unlike the reader of zstandard, it raises EOFError if the last frame is incomplete.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._pieces = _iter_pieces(file)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        space = memoryview(buffer)
        size = min(len(space), len(self._rest))
        space[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _iter_pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield the decompressed content of all frames, in pieces."""
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    frame = None
    while chunk := file.read(CHUNK_BYTES):
        while chunk:
            if frame is None:
                frame = decompressor.decompressobj()
            yield frame.decompress(chunk)
            chunk = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError
