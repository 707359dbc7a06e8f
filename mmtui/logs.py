"""The log of unexpected errors. It contains nothing that a user typed, said or showed.

Messages of exceptions may quote a question or a file name, so only types and code locations are
logged. Commands and their child processes write to the same file.
"""

import logging
import os
import time
import traceback
from collections.abc import Iterator
from functools import partial
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_state_path

from mmtui import machine
from mmtui.errors import InputError
from mmtui.files import refuse_special

MAX_BYTES = 1_000_000
OLD_FILES = 2  # older log files that are kept
LOCK_TIMEOUT_S = 1.0


def get_path() -> Path:
    """Return the path of the log file, which may not exist yet."""
    return user_state_path("mmtui") / "mmtui.log"


def record_error(error: BaseException) -> Path | None:
    """Log the types and code locations of an unexpected exception and its causes.

    Returns:
        The log file, or None if it can't be written.
    """
    return _write("\n".join(["unexpected error", *_locations(error)]))


def record_crash(process: str, dump: str) -> Path | None:
    """Log that a signal killed a process.

    Args:
        process: The process and the signal, such as "mmtui: Segmentation fault (SIGSEGV)".
        dump: The stacks that `faulthandler` wrote.

    Returns:
        The log file, or None if it can't be written.
    """
    return _write(f"{process}\n{dump}".rstrip())


def _locations(error: BaseException) -> Iterator[str]:
    """Yield the types and code locations of an exception and its causes, the first cause first."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        hidden = None if following.__suppress_context__ else following.__context__
        following = following.__cause__ or hidden
    for link in reversed(chain):
        number = f" {link.errno}" if isinstance(link, OSError) and link.errno else ""
        yield f"{type(link).__module__}.{type(link).__qualname__}{number}"
        for frame, line in traceback.walk_tb(link.__traceback__):
            code = frame.f_code
            yield f"  {code.co_filename}:{line} in {code.co_qualname}"


def _write(entry: str) -> Path | None:
    file = get_path()
    now = time.strftime("%Y-%m-%d %H:%M:%S %z")
    record = logging.makeLogRecord({"msg": f"{now} [{os.getpid()}] {entry}\n{_versions()}\n"})
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_special(file)
        with FileLock(f"{file}.lock", timeout=LOCK_TIMEOUT_S, mode=0o600):
            handler = _PrivateFile(file, maxBytes=MAX_BYTES, backupCount=OLD_FILES, delay=True)
            try:
                handler.emit(record)
            finally:
                handler.close()
    except (OSError, Timeout, InputError, NotImplementedError):
        return None  # the error is reported without a log
    return file


def _versions() -> str:
    facts = machine.describe()
    return ", ".join(f"{name} {value}" for name, value in facts.items())


class _PrivateFile(RotatingFileHandler):
    """A log file that only its owner can read. Errors are raised."""

    def _open(self) -> TextIOWrapper:
        private = partial(os.open, mode=0o600)
        return open(self.baseFilename, "a", encoding="utf-8", errors="replace", opener=private)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        raise  # noqa: PLE0704 - called while the error is handled
