"""Non-blocking reader of the lines of stdin in any supported encoding."""

import io
import sys
import threading
from concurrent.futures import Future
from typing import BinaryIO, TextIO, cast

from mmtui.encodings import decode, detect
from mmtui.errors import InputError


class Lines:
    """The lines of stdin, which need not be waited for until they come.

    A thread reads each: `select` knows neither what Python has read ahead nor every system's pipes.
    """

    def __init__(self) -> None:
        self._next: Future[str] | None = None
        self._source: BinaryIO | TextIO | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether the next line is there already, or a thread waits for it."""
        return self._next is not None

    def read(self, patience_s: float | None = None) -> str | None:
        """Read a line with its end; "" is the end of all, None that none came in that time.

        Raises:
            InputError: What comes is no text.
        """
        if self._next is None:
            self._next = Future()
            threading.Thread(target=self._fulfil, args=(self._next,), daemon=True).start()
        try:
            line = self._next.result(patience_s)
        except TimeoutError:
            return None
        self._next = None
        return line

    def give_back(self, line: str) -> None:
        """Put a line back, so that it is read again."""
        self._next = Future()
        self._next.set_result(line)

    def _fulfil(self, promise: "Future[str]") -> None:
        try:
            self._source = self._source or _open()
            line = self._source.readline()
            promise.set_result(line if isinstance(line, str) else decode(line))
        except (OSError, ValueError, InputError) as error:
            promise.set_exception(error)


def _open() -> BinaryIO | TextIO:
    """stdin, as text where its lines can't be told before it is decoded."""
    if sys.stdin.isatty():
        return sys.stdin
    stream = cast(io.BufferedReader, sys.stdin.buffer)
    encoding = detect(stream.peek(), is_whole=False)
    if encoding.startswith("utf-8"):
        return stream
    return io.TextIOWrapper(stream, encoding, errors="replace")
