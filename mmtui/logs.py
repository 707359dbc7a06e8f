"""The log: what went wrong unexpectedly, and where. Nothing that a user typed, said or showed.

Messages of exceptions may quote a question or name a file, so only types and code locations are
written. Commands and the processes that they start write to the same file.
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
OLD_FILES = 2  # kept beside the current one
LOCK_TIMEOUT_S = 1.0


def path() -> Path:
    """Where the log is, or would be."""
    return user_state_path("mmtui") / "mmtui.log"


def record_error(error: BaseException) -> Path | None:
    """Write the types and code locations of an unexpected exception and of what caused it.

    Returns:
        The file, or None if it can't be written.
    """
    return _write("\n".join(["unexpected error", *_locations(error)]))


def record_crash(process: str, dump: str) -> Path | None:
    """Write that a process was killed by a signal.

    Args:
        process: Which process, and how it died: "mmtui: Segmentation fault (SIGSEGV)".
        dump: What `faulthandler` wrote.

    Returns:
        The file, or None if it can't be written.
    """
    return _write(f"{process}\n{dump}".rstrip())


def _locations(error: BaseException) -> Iterator[str]:
    """The types and code locations of an exception and of what caused it, the first cause first."""
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
    file = path()
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
    except (OSError, Timeout, InputError, NotImplementedError):  # never one more reason to fail
        return None
    return file


def _versions() -> str:
    facts = machine.describe()
    return ", ".join(f"{name} {value}" for name, value in facts.items())


class _PrivateFile(RotatingFileHandler):
    """Readable by its owner alone. Errors are raised."""

    def _open(self) -> TextIOWrapper:
        private = partial(os.open, mode=0o600)
        return open(self.baseFilename, "a", encoding="utf-8", errors="replace", opener=private)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        raise  # noqa: PLE0704 - called while the error is handled
