"""Read lines of stdin with a timeout, in any supported encoding."""

import io
import select
import sys
import threading
from concurrent.futures import Future
from typing import BinaryIO, TextIO, cast

from mmtui.encodings import decode, detect
from mmtui.errors import InputError


class LineReader:
    """Reads lines of stdin with a timeout.

    A thread reads each line. `select` alone would not do: it does not see what Python has buffered,
    and on some systems it does not support pipes.
    """

    def __init__(self) -> None:
        self._next_line: Future[str] | None = None
        self._stream: BinaryIO | TextIO | None = None

    @property
    def is_reading(self) -> bool:
        """Whether a read that timed out is still in progress, or a line was put back."""
        return self._next_line is not None

    @property
    def has_line(self) -> bool:
        """Whether `read` would return at once; always False on Windows, unless a read timed out."""
        if self._next_line is not None:
            return self._next_line.done()
        try:
            return bool(select.select([sys.stdin], [], [], 0)[0])
        except (OSError, ValueError):
            return False

    def read(self, timeout_s: float | None = None) -> str | None:
        """Read a line with its line end.

        Returns:
            The line; "" at the end of stdin; None if there was no line before the timeout.

        Raises:
            InputError: stdin is not text.
        """
        if self._next_line is None:
            self._next_line = Future()
            thread = threading.Thread(target=self._read_into, args=(self._next_line,), daemon=True)
            thread.start()
        try:
            line = self._next_line.result(timeout_s)
        except TimeoutError:
            return None
        self._next_line = None
        return line

    def unread(self, line: str) -> None:
        """Put a line back; the next `read` returns it."""
        self._next_line = Future()
        self._next_line.set_result(line)

    def _read_into(self, future: "Future[str]") -> None:
        try:
            self._stream = self._stream or _open_stream()
            line = self._stream.readline()
            future.set_result(line if isinstance(line, str) else decode(line))
        except (OSError, ValueError, InputError) as error:
            future.set_exception(error)


def _open_stream() -> BinaryIO | TextIO:
    """Return stdin as a stream of bytes, or of text if its lines can't be split as bytes."""
    if sys.stdin.isatty():
        return sys.stdin
    stream = cast(io.BufferedReader, sys.stdin.buffer)
    encoding = detect(stream.peek(), is_complete=False)
    if encoding.startswith("utf-8"):
        return stream
    return io.TextIOWrapper(stream, encoding, errors="replace")
