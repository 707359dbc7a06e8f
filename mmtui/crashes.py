"""What is known of a process that a signal killed."""

import os
import signal
from collections.abc import Callable
from io import FileIO
from typing import Any

# What a process raises by a fault of its own; not every system has all of these.
_NAMES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")
CRASHES = {getattr(signal, name) for name in _NAMES if hasattr(signal, name)}


class Dump:
    """A file without a name, for what `faulthandler` writes when a process crashes.

    A process that has been forked, or started by multiprocessing with this among its arguments,
    shares the file. So another one can read it afterwards.
    """

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self._file = FileIO(os.memfd_create("crash"), "r+")
            return
        import tempfile

        with tempfile.TemporaryFile() as file:
            self._file = FileIO(os.dup(file.fileno()), "r+")

    def fileno(self) -> int:
        return self._file.fileno()

    def flush(self) -> None:
        """Nothing is held back; `faulthandler` asks all its files."""

    def read(self) -> str:
        """The stacks of all threads: code locations, no values. Empty if there was no crash."""
        return os.pread(self.fileno(), 100_000, 0).decode(errors="replace").strip()

    def __reduce__(self) -> tuple[Callable[[Any], "Dump"], tuple[Any]]:
        from multiprocessing.reduction import DupFd

        return _inherit, (DupFd(self.fileno()),)


def _inherit(descriptor: Any) -> Dump:
    dump = Dump.__new__(Dump)
    dump._file = FileIO(descriptor.detach(), "r+")
    return dump


def describe_signal(number: int) -> str:
    """Name a signal: "Segmentation fault (SIGSEGV)"."""
    try:
        return f"{signal.strsignal(number)} ({signal.Signals(number).name})"
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"
