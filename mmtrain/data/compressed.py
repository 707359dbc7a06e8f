"""Text files, plain or compressed by gzip or Zstandard, read as a stream."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mmtui.errors import InputError
from mmtui.files import encoding_of

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 14  # bytes of a compressed file that are read at once
WINDOW = 1 << 31  # bytes: as far back as `zstd --long=31` refers
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPED = b"\x2a\x4d\x18"  # after a first byte from 0x50 to 0x5f: a frame without text


@contextmanager
def open_text(path: Path) -> Iterator[io.TextIOWrapper]:
    """Open a text file; its first bytes tell how it is compressed, and its encoding.

    Bytes that are not of the encoding become U+FFFD.

    Raises:
        InputError: The file can't be read, is damaged, or is cut off; also while it is read.
    """
    import zstandard

    try:
        with path.open("rb") as file:
            # A buffer that can be peeked into, so that pipes can be read too.
            stream = io.BufferedReader(_decompressed(path, file))
            encoding = encoding_of(stream.peek(4)[:4])
            with io.TextIOWrapper(stream, encoding, errors="replace") as text:
                yield text
    except EOFError as error:
        raise InputError(
            f"{path} is cut off: its compressed data has no end", "fetch or copy it again"
        ) from error
    except (OSError, zlib.error, zstandard.ZstdError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"{path} can't be read: {reason}") from error


def _decompressed(path: Path, file: io.BufferedReader) -> io.RawIOBase:
    head = file.peek(4)[:4]
    if head.startswith(_GZIP):
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]  # as a raw stream is
    if head == _ZSTD or (head[1:] == _ZSTD_SKIPPED and head[0] >> 4 == 5):
        return _ZstdFile(file)
    if not head and path.suffix in (".gz", ".zst"):
        raise EOFError
    return file  # type: ignore[return-value]


class _ZstdFile(io.RawIOBase):
    """The text of all frames. zstandard's own reader takes a file that is cut off for a whole one.

    Raises EOFError while it is read, if the last frame has no end.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._pieces = _frames(file)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        space = memoryview(buffer)
        size = min(len(space), len(self._left))
        space[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


def _frames(file: BinaryIO) -> Iterator[bytes]:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW)
    frame = None
    while chunk := file.read(CHUNK):
        while chunk:
            if frame is None:
                frame = decompressor.decompressobj()
            yield frame.decompress(chunk)
            chunk = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError
