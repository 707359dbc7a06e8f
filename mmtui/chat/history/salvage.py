"""What can still be read of a damaged history, put into a new file.

SQLite gives up at the first damaged page that a query meets, and a damaged page near the root
hides all below it. So the rows are taken from the pages themselves, and known by their form.
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
_ADD_MESSAGE = "INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_ADD_ATTACHMENT = "INSERT OR IGNORE INTO attachments VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
# A conversation whose own row is lost is named by what was asked in it first.
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
    """What was read, and where the damaged file is now."""

    messages: int
    conversations: int
    damaged: Path


def salvage(file: Path) -> Salvaged | None:
    """Replace a damaged database with a new one that has every row which can still be read.

    The damaged file is kept beside it. Other instances that have it open go on with the new one.

    Returns:
        None if there is no row to be read; the file is left as it is then.

    Raises:
        OSError, sqlite3.Error: There is no space for the new file, say.
    """
    with FileLock(file.with_name("salvage.lock")):
        if _is_sound(file):  # another instance was quicker
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
    """Messages and conversations."""
    with closing(sqlite3.connect(file)) as database:
        tables = ("messages", "conversations")
        messages, conversations = (
            database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables
        )
        database.execute("SELECT number, text, transcript FROM words LIMIT 1").fetchall()
    return messages, conversations


def _copy(file: Path, copy: Path) -> None:
    """With what is in the write-ahead log; while it is copied nobody else may write."""
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
    """Put a row into the table that it has the form of; others belong to SQLite or an index."""
    # Values after a damaged one are missing.
    match row:
        case [None, str(), str(), _, str(), text, state, created]:
            whole = [number, *row[1:5], text or "", state or "stopped", created or 0]
            database.execute(_ADD_MESSAGE, whole)
        case [int(), int(), str(sha256), str(), name, size, detail, heard] if len(sha256) == 64:
            whole = [*row[:4], name or "", size or 0, detail or "", heard or ""]
            database.execute(_ADD_ATTACHMENT, whole)
        case [str(), title, system, head, draft, updated, deleted, *added]:
            staged, written = [*added, *["[]", 0][len(added) :]][:2]
            whole = [row[0], title or "", system or "", head, draft or "", updated or 0, deleted]
            database.execute(_ADD_CONVERSATION, [*whole, staged or "[]", written or 0])


def _put_in_place(fresh: Path, file: Path) -> None:
    try:
        # Page by page into the same file, which other instances may have open.
        with closing(sqlite3.connect(fresh)) as source, closing(sqlite3.connect(file)) as target:
            source.backup(target)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:  # its header is damaged, so that nobody can use it
        for suffix in ("-wal", "-shm"):
            file.with_name(f"{file.name}{suffix}").unlink(missing_ok=True)
        fresh.replace(file)
