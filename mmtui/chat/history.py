"""Every conversation, as it happens, in one SQLite file; attachments beside it by SHA-256.

Several instances may write at once (WAL). What was written is there after a crash of the
program; a deleted conversation can be restored until it is purged.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from platformdirs import user_data_path

from mmtui.chat.conversation import Attachment, Conversation, Draft, Message
from mmtui.chat.schema import MIGRATIONS, VERSION
from mmtui.errors import InputError, MmtuiError
from mmtui.files import replacing

_HAS_MESSAGES = "EXISTS (SELECT 1 FROM messages WHERE conversation = conversations.id)"
_HAS_DRAFT = "(draft != '' OR staged != '[]')"
BUSY_S = 5.0  # how long to wait for another instance
UNDO_S = 24 * 3600.0  # how long what was deleted can be restored
UNSENT_S = 30 * 24 * 3600.0  # how long the draft of a chat in which nothing was said is kept


@dataclass(frozen=True)
class Summary:
    """A conversation in a list. `snippet` is where a search found it, "" without one."""

    id: str
    title: str
    updated: datetime
    messages: int
    pictures: tuple[str, ...]  # SHA-256 of the first ones
    snippet: str = ""


class History:
    """The store in a folder. Raises MmtuiError if it can't be opened or written."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: the user's data directory if left out. A newer store is left untouched."""
        self.folder = folder or user_data_path("mmtui")
        with _told(self.folder):
            self._files.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                self.folder / "history.sqlite", timeout=BUSY_S, isolation_level=None
            )
            self._database.execute("PRAGMA foreign_keys = ON")
            self._migrate()
        self._drafting = FileLock(self.folder / "drafting.lock")  # held by the first that types

    def close(self, purge: bool = True) -> None:
        """`purge` False: of a store that may be damaged, nothing is deleted."""
        with suppress(MmtuiError):  # on a full disk, say: another time
            if purge:
                self.purge(UNDO_S)
        self._drafting.release(force=True)
        self._database.close()

    # Writing

    def save(self, conversation: Conversation, message: Message) -> None:
        """A new message, or what has become of an old one, and the conversation's state.

        It may have been renamed since in the store, or deleted, which this takes back.
        """
        now = datetime.now(UTC).timestamp()
        with _told(self.folder), self._transaction() as run:
            run(
                "INSERT INTO conversations (id, title, system, head, updated)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
                " title = iif(title = '', excluded.title, title), system = excluded.system,"
                " head = excluded.head, updated = excluded.updated, deleted = NULL",
                (
                    conversation.id, _text(conversation.title), _text(conversation.system),
                    conversation.head, now,
                ),
            )  # fmt: skip
            (number,) = run(
                "INSERT INTO messages (id, conversation, parent, role, text, state, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
                " text = excluded.text, state = excluded.state RETURNING number",
                (
                    message.id, conversation.id, message.parent, message.role,
                    _text(message.text), message.state, message.created.timestamp(),
                ),
            ).fetchone()  # fmt: skip
            run("DELETE FROM attachments WHERE message = ?", (number,))
            for place, file in enumerate(message.attachments):
                run(
                    "INSERT INTO attachments VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        number, place, file.sha256, file.kind, _text(file.name), file.size,
                        file.detail, _text(file.transcript),
                    ),
                )  # fmt: skip
            heard = " ".join(file.transcript for file in message.attachments)
            run("DELETE FROM words WHERE rowid = ?", (number,))
            run(
                "INSERT INTO words (rowid, text, transcript) VALUES (?, ?, ?)",
                (number, _text(message.text), _text(heard)),
            )

    def update(self, conversation: Conversation) -> None:
        """The system prompt and the branch that is read."""
        self._change(
            "UPDATE conversations SET system = ?, head = ? WHERE id = ?",
            (_text(conversation.system), conversation.head, conversation.id),
        )

    def rename(self, id: str, title: str) -> None:
        self._change("UPDATE conversations SET title = ? WHERE id = ?", (_text(title), id))

    def delete(self, id: str) -> None:
        """Hide a conversation; for a day, `restore` brings it back."""
        now = datetime.now(UTC).timestamp()
        self._change("UPDATE conversations SET deleted = ? WHERE id = ?", (now, id))

    def restore(self, id: str) -> str:
        """The deleted conversation whose id is, or begins with, that; returns the whole id.

        Raises InputError if there is none, or several.
        """
        whole: str = self._found(id, "id", deleted=True)[0]
        self._change("UPDATE conversations SET deleted = NULL WHERE id = ?", (whole,))
        return whole

    def purge(self, older_than_s: float = 0.0) -> None:
        """Forget what was deleted longer ago than that, and what nothing names since then.

        Younger files may be attached to a message that is not sent yet, in another instance.
        """
        before = datetime.now(UTC).timestamp() - older_than_s
        self._change(
            "DELETE FROM conversations WHERE deleted <= ?"
            f" OR (NOT {_HAS_MESSAGES} AND updated <= iif({_HAS_DRAFT}, ?, ?))",
            (before, before - UNSENT_S, before),
        )
        with _told(self.folder):
            # Drafts first: what is sent meanwhile is then among the messages.
            drafts = self._read("SELECT staged FROM conversations WHERE staged != '[]'")
            named = {file.sha256 for (staged,) in drafts for file in _unpacked(staged)}
            named |= {sha for (sha,) in self._read("SELECT DISTINCT sha256 FROM attachments")}
            for file in self._files.glob("??/*"):
                with suppress(FileNotFoundError):  # another instance may purge, too
                    if file.name not in named and file.stat().st_mtime <= before:
                        file.unlink()

    def save_draft(self, conversation: Conversation, draft: Draft) -> None:
        self._claim_drafting()
        staged = json.dumps([vars(file) for file in draft.attachments])
        self._change(
            "INSERT INTO conversations (id, title, system, updated, draft, staged)"
            " VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET draft = excluded.draft, staged = excluded.staged",
            (
                conversation.id, _text(conversation.title), _text(conversation.system),
                datetime.now(UTC).timestamp(), _text(draft.text), staged,
            ),
        )  # fmt: skip

    def keep(self, data: bytes) -> str:
        """Store the bytes of an attachment; returns their SHA-256."""
        sha256 = hashlib.sha256(data).hexdigest()
        place = self._place(sha256)
        with _told(self.folder):
            if place.exists():
                place.touch()  # wanted again: `purge` must not take it
            else:
                place.parent.mkdir(exist_ok=True)
                with replacing(place) as aside:
                    aside.write_bytes(data)
        return sha256

    # Reading

    def file(self, attachment: Attachment) -> Path:
        """Where an attachment is kept. Raises InputError if it is gone."""
        place = self._place(attachment.sha256)
        if not place.is_file():
            raise InputError(f"{attachment.name} is no longer among the stored attachments")
        return place

    def conversation(self, id: str) -> Conversation:
        """Raises InputError if there is none with an id that begins so, or several."""
        whole, title, system, head = self._found(id, "id, title, system, head")
        loaded = Conversation(whole, title, system)
        files: dict[int, list[Attachment]] = {}
        for number, *file in self._read(
            "SELECT message, sha256, kind, name, size, detail, transcript FROM attachments"
            " WHERE message IN (SELECT number FROM messages WHERE conversation = ?)"
            " ORDER BY message, place",
            (whole,),
        ):
            files.setdefault(number, []).append(Attachment(*file))
        for number, name, parent, role, text, state, created in self._read(
            "SELECT number, id, parent, role, text, state, created FROM messages"
            " WHERE conversation = ? ORDER BY number",
            (whole,),
        ):
            at = datetime.fromtimestamp(created, UTC)
            message = Message(name, parent, role, text, tuple(files.get(number, ())), state, at)
            if state == "writing":  # the program died, and wrote no further
                message.state = "stopped"
            loaded.add(message)
        loaded.title, loaded.head = title, head
        return loaded

    def said(self, limit: int = 100) -> list[str]:
        """What the user said last, the oldest first."""
        rows = self._read(
            "SELECT text FROM messages WHERE role = 'user' AND text != ''"
            " ORDER BY number DESC LIMIT ?",
            (limit,),
        )
        return [text for (text,) in reversed(rows)]

    def draft(self, id: str) -> Draft:
        found = self._read("SELECT draft, staged FROM conversations WHERE id = ?", (id,))
        return Draft(found[0][0], _unpacked(found[0][1])) if found else Draft()

    def take_draft(self, taker: Conversation) -> Draft:
        """Hand on the draft of the chat begun last; an empty one if it was sent, or may be soon."""
        if not self._claim_drafting():
            return Draft()
        id = self.latest()
        unsent = f"SELECT 1 FROM conversations WHERE id = ? AND NOT {_HAS_MESSAGES}"
        if id is None or not self._read(unsent, (id,)):
            return Draft()
        draft = self.draft(id)
        self.save_draft(taker, draft)
        if id != taker.id:
            self.save_draft(Conversation(id), Draft())
        return draft

    def _claim_drafting(self) -> bool:
        """Whether no other instance, whose unsent draft would be taken for a left one, does."""
        with _told(self.folder):
            try:
                self._drafting.acquire(timeout=0)
            except Timeout:
                return False
        return True

    def latest(self) -> str | None:
        """The id of the conversation that was last written to, if only a draft."""
        found = self._read(
            f"SELECT id FROM conversations WHERE deleted IS NULL AND ({_HAS_DRAFT} OR"
            f" {_HAS_MESSAGES}) ORDER BY updated DESC LIMIT 1"
        )
        return str(found[0][0]) if found else None

    def newest(self, limit: int = 100) -> list[Summary]:
        """The newest first."""
        rows = self._read(
            "SELECT id, title, updated, '' FROM conversations WHERE deleted IS NULL"
            f" AND {_HAS_MESSAGES} ORDER BY updated DESC LIMIT ?",
            (limit,),
        )
        return [self._summary(*row) for row in rows]

    def search(self, text: str, limit: int = 100) -> list[Summary]:
        """Conversations in which all words of `text` occur in a message, or begin a word there."""
        words = [word.replace('"', "") for word in text.split()]
        query = " ".join(f'"{word}"*' for word in words if word)
        if not query:
            return self.newest(limit)
        rows = self._read(
            "SELECT c.id, c.title, c.updated, f.snippet FROM ("
            " SELECT rowid, snippet(words, -1, '', '', '…', 12) AS snippet FROM words"
            " WHERE words MATCH ? ORDER BY rowid DESC LIMIT 1000) f"
            " JOIN messages m ON m.number = f.rowid JOIN conversations c ON c.id = m.conversation"
            " WHERE c.deleted IS NULL GROUP BY c.id ORDER BY c.updated DESC LIMIT ?",
            (query, limit),
        )
        return [self._summary(*row) for row in rows]

    # How

    @property
    def _files(self) -> Path:
        return self.folder / "attachments"

    def _place(self, sha256: str) -> Path:
        if len(sha256) != 64 or not sha256.isalnum():
            raise InputError("the history names an attachment that can't be")
        return self._files / sha256[:2] / sha256

    def _summary(self, id: str, title: str, updated: float, snippet: str) -> Summary:
        ((count,),) = self._read("SELECT count(*) FROM messages WHERE conversation = ?", (id,))
        pictures = self._read(
            "SELECT a.sha256 FROM attachments a JOIN messages m ON m.number = a.message"
            " WHERE m.conversation = ? AND a.kind = 'image' ORDER BY a.message, a.place LIMIT 3",
            (id,),
        )
        shas = tuple(sha for (sha,) in pictures)
        return Summary(id, title, datetime.fromtimestamp(updated, UTC), count, shas, snippet)

    def _migrate(self) -> None:
        if self._version() > VERSION:
            raise MmtuiError(
                f"the history in {self.folder} was written by a newer mmtui",
                "update mmtui; the history is left as it is",
            )
        if self._version() == VERSION:
            return
        self._database.execute("PRAGMA journal_mode = WAL")
        with self._transaction() as run:  # another instance may be at it, and is waited for
            for number in range(self._version(), VERSION):
                for statement in MIGRATIONS[number]:
                    run(statement)
                run(f"PRAGMA user_version = {number + 1}")

    def _version(self) -> int:
        ((version,),) = self._read("PRAGMA user_version")
        return int(version)

    def _found(self, id: str, columns: str, deleted: bool = False) -> tuple[Any, ...]:
        """Those of the one conversation whose id is, or begins with, that."""
        found = self._read(
            f"SELECT {columns} FROM conversations"
            " WHERE substr(id, 1, ?) = ? AND (deleted IS NOT NULL) = ? LIMIT 2",
            (len(id), id, deleted),
        )
        if len(found) != 1 or not id:
            kind = "deleted conversation" if deleted else "conversation"
            what = f"several {kind}s begin" if found else f"no {kind} begins"
            hint = "after a day it is gone" if deleted else "`mmtui history list` shows them"
            raise InputError(f"{what} with {id!r}", hint)
        return found[0]

    def _read(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with _told(self.folder):
            taken = [_text(value) if isinstance(value, str) else value for value in values]
            return self._database.execute(query, taken).fetchall()

    def _change(self, query: str, values: tuple[Any, ...]) -> None:
        with _told(self.folder):
            self._database.execute(query, values)

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database.execute
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _unpacked(staged: str) -> tuple[Attachment, ...]:
    """None where it is damaged: they can be attached again."""
    try:
        return tuple(Attachment(**file) for file in json.loads(staged))
    except (ValueError, TypeError):
        return ()


def _text(text: str) -> str:
    """SQLite takes no lone surrogates, which file names may have."""
    return text.encode(errors="replace").decode()


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Errors of the disk and of the database, as one line."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        hint = "free some space, or set XDG_DATA_HOME to a folder that can be written"
        if type(error) is sqlite3.DatabaseError:  # malformed, or none; others are subclasses
            hint = "move history.sqlite* and attachments away from there, and a new one is begun"
        raise MmtuiError(f"the history in {folder} can't be used: {error}", hint) from error
