"""The SQLite file of the history: opened, migrated and, where it is damaged, salvaged.

It is read where it can't be written, too.
"""

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from mmtui.chat.history.salvage import salvage
from mmtui.chat.history.schema import MIGRATIONS, VERSION
from mmtui.chat.history.search import fold
from mmtui.errors import MmtuiError

FILE = "history.sqlite"
BUSY_S = 5.0  # how long to wait while another program holds the file
_MIN_FREE = 1 << 20  # bytes; with less, the disk counts as full

Row = tuple[Any, ...]
Notify = Callable[[str, str | None], object]  # a message, and a hint or None
T = TypeVar("T")


class HistoryError(MmtuiError):
    """The history can't be read or written; `reason` says why in a few words."""

    def __init__(self, message: str, hint: str, reason: str) -> None:
        super().__init__(message, hint)
        self.reason = reason


class Database:
    """The open file. Not to be used by two threads at once.

    Every method raises HistoryError if the file can't be read or written.
    """

    def __init__(self, folder: Path | None, notify: Notify, busy_s: float = BUSY_S) -> None:
        """Open the file in `folder`, or a database in memory if it is None.

        Args:
            folder: Where the file is, or is to be.
            notify: Called with a message and a hint when damage was found and repaired.
            busy_s: How long to wait while another program holds the file.

        Raises:
            HistoryError: The file can't be opened, or a newer mmtui wrote it.
        """
        self._folder, self._notify, self._busy_s = folder, notify, busy_s
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._is_salvaged = False
        with translated_errors(folder):
            self.is_readonly = folder is not None and not _is_writable(folder)
            self._connection = self._open()
        self._attempt(self._migrate)

    def close(self) -> None:
        self._connection.close()
        if self._copy is not None:
            self._copy.cleanup()

    def read(self, query: str, values: Row = ()) -> list[Row]:
        """All rows of a query."""
        taken = tuple(storable(value) for value in values)
        return self._attempt(lambda: self._connection.execute(query, taken).fetchall())

    def write(self, act: Callable[[Callable[..., Any]], T]) -> T:
        """Do `act` in a transaction; its argument runs one statement with its values.

        It may be called twice, where the file turns out to be damaged.
        """
        self.require_writable()

        def run(query: str, values: Row = ()) -> Any:
            return self._connection.execute(query, tuple(storable(value) for value in values))

        return self._attempt(lambda: self._in_transaction(lambda: act(run)))

    def require_writable(self) -> None:
        """Raise HistoryError where the file can be read only; that may have changed by now."""
        if not self.is_readonly:
            return
        if self._folder is None or not _is_writable(self._folder):
            raise HistoryError(
                f"the history in {self._folder} is read-only",
                "make that folder writable, or set XDG_DATA_HOME to one that is",
                "read-only folder",
            )
        self.close()
        self._copy, self.is_readonly = None, False
        with translated_errors(self._folder):
            self._connection = self._open()
        self._attempt(self._migrate)

    def wait_up_to(self, seconds: float) -> None:
        """From now on, wait that long while another program holds the file."""
        self._busy_s = seconds
        self._connection.execute(f"PRAGMA busy_timeout = {int(1000 * seconds)}")

    def _attempt(self, act: Callable[[], T]) -> T:
        """Do it; where the file is damaged, salvage that first, once."""
        with translated_errors(self._folder):
            try:
                return act()
            except sqlite3.DatabaseError as error:
                if self._is_salvaged or self._folder is None or not is_damage(error):
                    raise
                self._is_salvaged = True
                self._salvage(error)
                return act()

    def _salvage(self, error: sqlite3.DatabaseError) -> None:
        assert self._folder is not None
        self._connection.close()
        if self.is_readonly and self._copy is None:
            self._copy_aside()
        try:
            saved = salvage(self._file)
        finally:
            self._connection = self._connect(f"{self._file}")
        if saved is None:
            raise error
        kept = self._file if self.is_readonly else saved.damaged
        self._notify(
            f"the history in {self._folder} was damaged: what could be read was copied into a new"
            f" file, with a new search index (messages: {saved.messages}, conversations:"
            f" {saved.conversations})",
            f"the damaged file is kept: {kept}",
        )

    # Opening

    @property
    def _file(self) -> Path:
        assert self._folder is not None
        return (Path(self._copy.name) if self._copy is not None else self._folder) / FILE

    def _open(self) -> sqlite3.Connection:
        if self._folder is None:
            return self._connect(":memory:")
        if not self.is_readonly:
            self._folder.mkdir(parents=True, exist_ok=True)
            return self._connect(f"{self._file}")
        try:
            connection = self._connect(f"{self._file.as_uri()}?mode=ro")
            if connection.execute("PRAGMA user_version").fetchall() >= [(VERSION,)]:
                return connection
            connection.close()
        except sqlite3.OperationalError:
            pass
        # A write-ahead log can't be read without writing beside it, nor an old version migrated.
        return self._copy_aside()

    def _copy_aside(self) -> sqlite3.Connection:
        """Copy what can't be written here to a temporary folder, and open it there."""
        sources = [self._file, self._file.with_name(f"{FILE}-wal")]
        self._copy = tempfile.TemporaryDirectory(prefix="mmtui-copy-")
        for source in sources:
            if source.exists() or source is sources[0]:
                shutil.copyfile(source, Path(self._copy.name) / source.name)
        return self._connect(f"{self._file}")

    def _connect(self, name: str) -> sqlite3.Connection:
        # Without a transaction of its own; the thread that closes may not be the one that opened.
        connection = sqlite3.connect(
            name, timeout=self._busy_s, isolation_level=None, check_same_thread=False,
            uri=name.startswith("file:"),
        )  # fmt: skip
        connection.text_factory = _decode
        connection.create_function("fold", 1, fold, deterministic=True)
        connection.execute("PRAGMA foreign_keys = ON")
        if self._folder is None:
            connection.execute("PRAGMA temp_store = MEMORY")
        return connection

    def _migrate(self) -> None:
        if self._version() > VERSION:
            raise HistoryError(
                f"the history in {self._folder} was written by a newer mmtui",
                "update mmtui; the history is left as it is",
                "history of a newer mmtui",
            )
        if self._version() < VERSION:
            with self._lock_migration():
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._in_transaction(self._apply_migrations)

    @contextmanager
    def _lock_migration(self) -> Iterator[None]:
        """Let one process migrate. SQLite does not wait for another that changes the mode."""
        if self._folder is None:
            yield
            return
        try:
            with FileLock(self._folder / f"{FILE}.lock", timeout=BUSY_S):
                yield
        except Timeout as error:
            raise sqlite3.OperationalError("database is locked") from error

    def _apply_migrations(self) -> None:
        for number in range(self._version(), VERSION):  # another instance may have been quicker
            for statement in MIGRATIONS[number]:
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {number + 1}")

    def _version(self) -> int:
        ((version,),) = self._connection.execute("PRAGMA user_version").fetchall()
        return int(version)

    def _in_transaction(self, act: Callable[[], T]) -> T:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            done = act()
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite ends some by itself, as on a full disk
                self._connection.execute("ROLLBACK")
            raise
        return done


@contextmanager
def translated_errors(folder: Path | None) -> Iterator[None]:
    """Errors of the disk and of SQLite as a HistoryError, whose hint fits the cause."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason, hint = _explain(error, folder)
        message = f"the history in {folder} can't be used: {error}"
        raise HistoryError(message, hint, reason) from error


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is at fault: its pages, or a table that is missing."""
    if _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return True
    return "no such table" in str(error) or "vtable constructor failed" in str(error)


def storable(value: Any) -> Any:
    """SQLite takes no lone surrogates, which file names may have."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _explain(error: sqlite3.Error | OSError, folder: Path | None) -> tuple[str, str]:
    """A few words for the status line, and the cure."""
    code = _code(error) if isinstance(error, sqlite3.Error) else None
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        hint = "another program holds history.sqlite, such as a backup: end it, or wait for it"
        return "locked by another program", hint
    if isinstance(error, sqlite3.Error) and is_damage(error):
        hint = f"move {FILE}* away from there, and a new one is begun"
        return "damaged history", hint
    no_space = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if no_space or code == sqlite3.SQLITE_FULL or _is_full(folder):
        return "disk full", "free some disk space"
    hint = "check that folder's permissions, or set XDG_DATA_HOME to one that can be written"
    return "the folder can't be written", hint


def _code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code; None for an error of the module itself."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _is_full(folder: Path | None) -> bool:
    """SQLite tells some failures for want of space as an I/O error."""
    try:
        return folder is not None and shutil.disk_usage(folder).free < _MIN_FREE
    except OSError:
        return False


def _is_writable(folder: Path) -> bool:
    """Whether the database can be, or may be begun, in a folder that may not be there yet."""
    if not folder.is_dir():
        return True  # making it tells what is wrong
    file = folder / FILE
    return os.access(folder, os.W_OK) and (not file.exists() or os.access(file, os.W_OK))


def _decode(data: bytes) -> str:
    return data.decode(errors="replace")
