"""The SQLite database of the history: opening, migration and recovery from damage.

A database in a read-only folder can be read.
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
BUSY_TIMEOUT_S = 5.0  # how long to wait while another program locks the file
_MIN_FREE = 1 << 20  # bytes; with less, the disk counts as full

Row = tuple[Any, ...]
Notify = Callable[[str, str | None], object]  # a message, and a hint or None
T = TypeVar("T")


class HistoryError(MmtuiError):
    """The history can't be read or written; `reason` is a short text for the status line."""

    def __init__(self, message: str, hint: str, reason: str) -> None:
        super().__init__(message, hint)
        self.reason = reason


class Database:
    """An open database. Only one thread at a time may use it.

    Every method raises HistoryError if the file can't be read or written.
    """

    def __init__(
        self, folder: Path | None, notify: Notify, busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> None:
        """Open the file in `folder`, or a database in memory if it is None.

        Args:
            folder: Folder of the file, which is created if it is missing.
            notify: Called with a message and a hint after damage was repaired.
            busy_timeout_s: How long to wait for a lock of another program, in seconds.

        Raises:
            HistoryError: The file can't be opened, or a newer mmtui wrote it.
        """
        self._folder, self._notify, self._busy_timeout_s = folder, notify, busy_timeout_s
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._is_salvaged = False
        with translate_errors(folder):
            self.is_readonly = folder is not None and not _is_writable(folder)
            self._connection = self._open()
        self._attempt(self._migrate)

    def close(self) -> None:
        """Close the connection and delete the temporary copy, if any."""
        self._connection.close()
        if self._copy is not None:
            self._copy.cleanup()

    def read(self, query: str, values: Row = ()) -> list[Row]:
        """Return all rows of a query."""
        parameters = tuple(replace_surrogates(value) for value in values)
        return self._attempt(lambda: self._connection.execute(query, parameters).fetchall())

    def write(self, act: Callable[[Callable[..., Any]], T]) -> T:
        """Call `act` in a transaction and return its result.

        Args:
            act: Called with a function that executes a statement with its values. Called again if
                the file was damaged and repaired.
        """
        self.require_writable()

        def run(query: str, values: Row = ()) -> Any:
            return self._connection.execute(
                query, tuple(replace_surrogates(value) for value in values)
            )

        return self._attempt(lambda: self._in_transaction(lambda: act(run)))

    def require_writable(self) -> None:
        """Raise HistoryError if the file is read-only; reopen it if it has become writable."""
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
        with translate_errors(self._folder):
            self._connection = self._open()
        self._attempt(self._migrate)

    def set_busy_timeout(self, seconds: float) -> None:
        """Set how long to wait for a lock of another program."""
        self._busy_timeout_s = seconds
        self._connection.execute(f"PRAGMA busy_timeout = {int(1000 * seconds)}")

    def _attempt(self, act: Callable[[], T]) -> T:
        """Call `act`; if the file is damaged, repair it once and call `act` again."""
        with translate_errors(self._folder):
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
            self._open_copy()
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
        return self._open_copy()

    def _open_copy(self) -> sqlite3.Connection:
        """Copy the read-only file to a temporary folder and open the copy."""
        sources = [self._file, self._file.with_name(f"{FILE}-wal")]
        self._copy = tempfile.TemporaryDirectory(prefix="mmtui-copy-")
        for source in sources:
            if source.exists() or source is sources[0]:
                shutil.copyfile(source, Path(self._copy.name) / source.name)
        return self._connect(f"{self._file}")

    def _connect(self, name: str) -> sqlite3.Connection:
        # isolation_level None: transactions are explicit. Another thread may close the connection.
        connection = sqlite3.connect(
            name,
            timeout=self._busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
            uri=name.startswith("file:"),
        )
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
                "update mmtui; the history was not changed",
                "history of a newer mmtui",
            )
        if self._version() < VERSION:
            with self._lock_migration():
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._in_transaction(self._apply_migrations)

    @contextmanager
    def _lock_migration(self) -> Iterator[None]:
        """Let one process migrate; SQLite does not wait for a change of the journal mode."""
        if self._folder is None:
            yield
            return
        try:
            with FileLock(self._folder / f"{FILE}.lock", timeout=BUSY_TIMEOUT_S):
                yield
        except Timeout as error:
            raise sqlite3.OperationalError("database is locked") from error

    def _apply_migrations(self) -> None:
        for number in range(self._version(), VERSION):  # another instance may have migrated it
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
            # After some errors, such as a full disk, SQLite has rolled back already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return done


@contextmanager
def translate_errors(folder: Path | None) -> Iterator[None]:
    """Raise errors of the disk and of SQLite as HistoryError with a hint for the cause."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason, hint = _explain(error, folder)
        message = f"the history in {folder} can't be used: {error}"
        raise HistoryError(message, hint, reason) from error


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether the file is damaged: its pages are corrupt or a table is missing."""
    if _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return True
    return "no such table" in str(error) or "vtable constructor failed" in str(error)


def replace_surrogates(value: Any) -> Any:
    """Replace lone surrogates, which file names can contain and SQLite does not accept."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _explain(error: sqlite3.Error | OSError, folder: Path | None) -> tuple[str, str]:
    """Return a short text for the status line and a hint."""
    code = _code(error) if isinstance(error, sqlite3.Error) else None
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        hint = "another program locks history.sqlite, such as a backup: end it, or wait for it"
        return "locked by another program", hint
    if isinstance(error, sqlite3.Error) and is_damage(error):
        hint = f"move {FILE}* to another folder; mmtui then creates a new one"
        return "damaged history", hint
    no_space = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if no_space or code == sqlite3.SQLITE_FULL or _is_full(folder):
        return "disk full", "free some disk space"
    hint = "check that folder's permissions, or set XDG_DATA_HOME to one that can be written"
    return "the folder can't be written", hint


def _code(error: sqlite3.Error) -> int | None:
    """Return SQLite's primary result code; None for an error of the Python module."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _is_full(folder: Path | None) -> bool:
    """Return whether the disk is full, which SQLite can report as an I/O error."""
    try:
        return folder is not None and shutil.disk_usage(folder).free < _MIN_FREE
    except OSError:
        return False


def _is_writable(folder: Path) -> bool:
    """Return whether the database in `folder` can be written or created."""
    if not folder.is_dir():
        return True  # creating the folder raises the error, if any
    file = folder / FILE
    return os.access(folder, os.W_OK) and (not file.exists() or os.access(file, os.W_OK))


def _decode(data: bytes) -> str:
    return data.decode(errors="replace")
