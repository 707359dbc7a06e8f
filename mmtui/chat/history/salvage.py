"""Recovery of the readable rows of a damaged database into a new file.

SQLite stops at the first damaged page of a query, and a damaged page near the root of a table hides
all pages below it. So rows are read from the pages directly and assigned to tables by their types.
"""

import shutil
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from mmtui.chat.history.pages import read_rows
from mmtui.chat.history.schema import INDEX_MESSAGES, MIGRATIONS, VERSION
from mmtui.chat.history.search import fold

DAMAGED = "history-damaged-*.sqlite"  # what damaged files are renamed to
_ADD_CONVERSATION = (
    "INSERT OR IGNORE INTO conversations"
    " (id, title, system, head, draft, updated, deleted, staged, written)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ADD_MESSAGE = "INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ADD_ATTACHMENT = "INSERT OR IGNORE INTO attachments VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
# A conversation whose row is lost gets the first message of the user as its title.
_ADD_LOST_CONVERSATIONS = """INSERT OR IGNORE INTO conversations (id, title, system, head, updated)
    SELECT conversation, coalesce((SELECT substr(text, 1, 60) FROM messages first
        WHERE first.conversation = messages.conversation AND role = 'user' AND text != ''
        ORDER BY number LIMIT 1), ''), '', NULL, max(created) FROM messages GROUP BY conversation"""
_DROP_LOST_ATTACHMENTS = (
    "DELETE FROM attachments WHERE message NOT IN (SELECT number FROM messages)"
)
_COUNT_WRITES = """UPDATE conversations SET written = max(written, coalesce(
    (SELECT max(number) FROM messages WHERE conversation = conversations.id), 0))"""


@dataclass(frozen=True)
class Salvaged:
    """The number of recovered rows and the path of the damaged file."""

    messages: int
    conversations: int
    damaged: Path


def salvage(file: Path) -> Salvaged | None:
    """Replace a damaged database with a new one that has all rows that can still be read.

    The damaged file is kept in the same folder. Other instances continue with the new database.

    Returns:
        None if no row can be read; the file is not changed then.

    Raises:
        OSError: The new file can't be written.
        sqlite3.Error: The new file can't be written or the database is locked.
    """
    with FileLock(file.with_name("salvage.lock")):
        if _is_sound(file):  # another instance has repaired it
            return Salvaged(*_count(file), max(file.parent.glob(DAMAGED), default=file))
        stamp = f"{datetime.now():%Y%m%d-%H%M%S-%f}"
        damaged = file.with_name(DAMAGED.replace("*", stamp))
        fresh = file.with_name(f"history-new-{stamp}.sqlite")
        try:
            _copy(file, damaged)
            _fill(fresh, damaged)
            counts = _count(fresh)
            if any(counts):
                _put_in_place(fresh, file)
                return Salvaged(*counts, damaged)
            damaged.unlink()
            return None
        finally:
            fresh.unlink(missing_ok=True)


def _is_sound(file: Path) -> bool:
    try:
        with closing(sqlite3.connect(file)) as database:
            ((version,),) = database.execute("PRAGMA user_version").fetchall()
            found = database.execute("PRAGMA integrity_check(1)").fetchall()
            return version == VERSION and found == [("ok",)] and _count(file) is not None
    except sqlite3.Error:
        return False


def _count(file: Path) -> tuple[int, int]:
    """Return the numbers of messages and conversations."""
    with closing(sqlite3.connect(file)) as database:
        tables = ("messages", "conversations")
        messages, conversations = (
            database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables
        )
        database.execute("SELECT number, text, transcript FROM words LIMIT 1").fetchall()
    return messages, conversations


def _copy(file: Path, copy: Path) -> None:
    """Copy a database and its write-ahead log while other programs can't write to it."""
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:  # it is locked
            raise
        except sqlite3.DatabaseError:  # it is too damaged for that
            pass
        shutil.copyfile(file, copy)
        log, copied_log = (path.with_name(f"{path.name}-wal") for path in (file, copy))
        if log.exists():
            shutil.copyfile(log, copied_log)
    with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(copy)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _fill(fresh: Path, damaged: Path) -> None:
    """Write a new database with all rows of a damaged one."""
    with closing(sqlite3.connect(fresh, isolation_level=None)) as database:
        database.create_function("fold", 1, fold, deterministic=True)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("BEGIN")
        for migration in MIGRATIONS:
            for statement in migration:
                database.execute(statement)
        for number, row in read_rows(damaged.read_bytes()):
            with suppress(sqlite3.Error):  # a value that its column refuses
                _add(database, number, row)
        database.execute(_ADD_LOST_CONVERSATIONS)
        database.execute(
            "DELETE FROM attachments WHERE message NOT IN (SELECT number FROM messages)"
        )
        database.execute(_COUNT_WRITES)
        database.execute(INDEX_MESSAGES)
        database.execute(f"PRAGMA user_version = {VERSION}")
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _add(database: sqlite3.Connection, number: int, row: list[Any]) -> None:
    """Insert a row into the table that its types match; skip rows of SQLite and of indexes."""
    # Values after a damaged one are missing.
    match row:
        case [None, str(), str(), _, str(), text, state, created, *details]:
            values = [number, *row[1:5], text or "", state or "stopped", created or 0]
            values += [details[0] or ""] if details else [""]
            database.execute(_ADD_MESSAGE, values)
        case [int(), int(), str(sha256), str(), name, size, detail, transcript] if (
            len(sha256) == 64
        ):
            values = [*row[:4], name or "", size or 0, detail or "", transcript or ""]
            database.execute(_ADD_ATTACHMENT, values)
        case [str(), title, system, head, draft, updated, deleted, *rest]:
            staged, written = [*rest, *["[]", 0][len(rest) :]][:2]
            values = [row[0], title or "", system or "", head, draft or "", updated or 0, deleted]
            database.execute(_ADD_CONVERSATION, [*values, staged or "[]", written or 0])


def _put_in_place(fresh: Path, file: Path) -> None:
    try:
        # Page by page into the same file, which other instances may have open.
        with closing(sqlite3.connect(fresh)) as source, closing(sqlite3.connect(file)) as target:
            source.backup(target)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:  # its header is damaged: no instance can use it
        for suffix in ("-wal", "-shm"):
            file.with_name(f"{file.name}{suffix}").unlink(missing_ok=True)
        fresh.replace(file)
