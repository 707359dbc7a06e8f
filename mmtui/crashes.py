"""Information about a process that was killed by a signal."""

import faulthandler
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

# Signals of a crash. Not every system has all of them.
_NAMES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")
CRASHES = {getattr(signal, name) for name in _NAMES if hasattr(signal, name)}
# In front of a path, in the first line of a dump.
_READING, _ENCODING = "reading ", "encoding with "


class Dump:
    """An anonymous file, to which `faulthandler` writes the stacks of a process that crashes.

    A child process shares it if it is forked, or started by multiprocessing with this object among
    its arguments. So the parent can read it after a crash.
    """

    def __init__(self) -> None:
        """Create an empty file."""
        if hasattr(os, "memfd_create"):
            self._file = FileIO(os.memfd_create("crash"), "r+")
            return
        import tempfile

        with tempfile.TemporaryFile() as file:
            self._file = FileIO(os.dup(file.fileno()), "r+")

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._file.fileno()

    def flush(self) -> None:
        """Do nothing, because the file has no buffer; `faulthandler` requires this method."""

    def write(self, text: str) -> None:
        """Replace the content. Stacks are written behind it."""
        self._file.seek(0)
        self._file.truncate()
        self._file.write(text.encode(errors="surrogateescape"))

    def read(self) -> str:
        """Return the stacks of all threads as code locations; empty if there was no crash.

        If the process crashed while native code read a file, its path is in the first line.
        """
        return os.pread(self.fileno(), 100_000, 0).decode(errors="replace").strip()

    def __reduce__(self) -> tuple[Callable[[Any], "Dump"], tuple[Any]]:
        from multiprocessing.reduction import DupFd

        return _inherit, (DupFd(self.fileno()),)


def _inherit(descriptor: Any) -> Dump:
    dump = Dump.__new__(Dump)
    dump._file = FileIO(descriptor.detach(), "r+")
    return dump


def describe_signal(number: int) -> str:
    """Return the name of a signal, such as "Segmentation fault (SIGSEGV)"."""
    try:
        return f"{signal.strsignal(number)} ({signal.Signals(number).name})"
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"


_current: Dump | None = None  # the dump of this process


def enable_dump(dump: Dump) -> None:
    """Have the stacks of this process written to a dump if it crashes."""
    global _current  # noqa: PLW0603 - a process has one fault handler
    _current = dump
    faulthandler.enable(dump)


@contextmanager
def reading(file: Path, *, encodes: bool = False) -> Iterator[None]:
    """Note that native code reads a file, which is the likely cause of a crash meanwhile.

    Args:
        file: The file.
        encodes: Whether it is used to encode a picture or a recording.
    """
    if _current is None:
        yield
        return
    _current.write(f"{_ENCODING if encodes else _READING}{file}\n")
    try:
        yield
    finally:
        _current.write("")


def find_file(dump: str) -> str | None:
    """Return the path of the file that native code read during a crash, or None."""
    first = dump.partition("\n")[0]
    for start in (_READING, _ENCODING):
        if first.startswith(start):
            return first.removeprefix(start)
    return None


def is_encoding(dump: str) -> bool:
    """Return whether native code encoded a picture or a recording during a crash."""
    return dump.startswith(_ENCODING)
