"""The history: all conversations in an SQLite file, and their attachments in a folder.

Several instances can write at the same time. Writes survive a crash of the program. A deleted
conversation can be restored until it is purged.
"""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from platformdirs import user_data_path

from mmtui.chat.conversation import Attachment, Conversation, Draft, Message
from mmtui.chat.history import rows
from mmtui.chat.history.attachment_store import AttachmentStore
from mmtui.chat.history.conversation_index import (
    HAS_DRAFT,
    HAS_MESSAGES,
    ConversationIndex,
    Summary,
)
from mmtui.chat.history.database import BUSY_TIMEOUT_S, Database, Notify, Row, translate_errors
from mmtui.chat.history.salvage import DAMAGED
from mmtui.errors import InputError, MmtuiError

# The number of the next write. A damaged counter must not stay ahead of all others.
_NEXT_WRITE = (
    "(SELECT coalesce(max(written), 0) + 1 FROM conversations"
    " WHERE typeof(written) = 'integer' AND written < 1 << 60)"
)
UNDO_S = 24 * 3600.0  # how long a deleted conversation can be restored
UNSENT_S = 30 * 24 * 3600.0  # how long the draft of a conversation without messages is kept

Run = Callable[..., Any]  # a statement and its values


def _ignore(*_: object) -> None:
    """Ignore the notifications of a store."""


class History:
    """The store of conversations in a folder. A store in a read-only folder can be read.

    Every method raises HistoryError, an MmtuiError, if the store can't be read or written.
    """

    def __init__(
        self,
        folder: Path | None = None,
        notify: Notify = _ignore,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        is_in_memory: bool = False,
    ) -> None:
        """Open the store, or create it.

        Args:
            folder: Folder of the store; by default the user's data folder.
            notify: Called with a message and a hint after damage was repaired.
            busy_timeout_s: How long to wait while another program locks the store, in seconds.
            is_in_memory: Keep everything in memory, and write nothing to `folder`.

        Raises:
            MmtuiError: The store can't be opened, or a newer mmtui wrote it. It is left unchanged.
        """
        self.folder = folder or user_data_path("mmtui")
        self._database = Database(None if is_in_memory else self.folder, notify, busy_timeout_s)
        self._index = ConversationIndex(self._database, notify)
        self._attachments = AttachmentStore(self.folder / "attachments")
        # Locked by the first instance that saves a draft.
        self._drafting = FileLock(self.folder / "drafting.lock", thread_local=False)

    @property
    def is_readonly(self) -> bool:
        """Whether the store can only be read."""
        return self._database.is_readonly

    def require_writable(self) -> None:
        """Raise HistoryError if the store is read-only."""
        self._database.require_writable()

    def set_busy_timeout(self, seconds: float) -> None:
        """Set how long to wait while another program locks the store."""
        self._database.set_busy_timeout(seconds)

    def close(self, purge: bool = True) -> None:
        """Close the store; first delete old data for good if `purge` is true."""
        if purge and not self.is_readonly:
            with suppress(MmtuiError):  # as on a full disk; the next purge retries
                self.purge(UNDO_S)
        self._drafting.release(force=True)
        self._database.close()

    # Writing

    def save(self, conversation: Conversation, message: Message) -> None:
        """Write a new or changed message and the state of its conversation.

        A title in the store is not overwritten; a deleted conversation is restored.
        """

        def act(run: Run) -> None:
            run(
                "INSERT INTO conversations (id, title, system, head, updated, written)"
                f" VALUES (?, ?, ?, ?, ?, {_NEXT_WRITE}) ON CONFLICT (id) DO UPDATE SET"
                " title = iif(title = '', excluded.title, title), system = excluded.system,"
                " head = excluded.head, updated = excluded.updated, written = excluded.written,"
                " deleted = NULL",
                (
                    conversation.id,
                    conversation.title,
                    conversation.system,
                    conversation.head,
                    _now(),
                ),
            )
            (number,) = run(
                "INSERT INTO messages"
                " (id, conversation, parent, role, text, state, created, details)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
                " text = excluded.text, state = excluded.state, details = excluded.details"
                " RETURNING number",
                (
                    message.id,
                    conversation.id,
                    message.parent,
                    message.role,
                    message.text,
                    message.state,
                    message.created.timestamp(),
                    rows.from_details(message),
                ),
            ).fetchone()
            run("DELETE FROM attachments WHERE message = ?", (number,))
            for place, file in enumerate(message.attachments):
                run(
                    "INSERT INTO attachments VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        number,
                        place,
                        file.sha256,
                        file.kind,
                        file.name,
                        file.size,
                        file.detail,
                        file.transcript,
                    ),
                )
            transcripts = " ".join(file.transcript for file in message.attachments)
            run(
                "INSERT OR REPLACE INTO words (number, text, transcript)"
                " VALUES (?, fold(?), fold(?))",
                (number, message.text, transcripts),
            )

        self._database.write(act)

    def update(self, conversation: Conversation) -> None:
        """Write the system prompt and the current branch of a conversation."""
        self._change(
            "UPDATE conversations SET system = ?, head = ? WHERE id = ?",
            (conversation.system, conversation.head, conversation.id),
        )

    def retract(self, conversation: Conversation, id: str, draft: Draft) -> None:
        """Delete a message with its replies and save its content as a draft."""
        self.save_draft(conversation, draft)
        self.update(conversation)
        self.rename(conversation.id, conversation.title)
        self._change("DELETE FROM messages WHERE ? IN (id, parent)", (id,))

    def delete_messages(self, conversation: Conversation, ids: list[str]) -> None:
        """Delete messages of a conversation for good, and write its current branch."""
        from mmtui.pipeline import prompt_folder

        prompt_folder.remove(conversation.id)

        def act(run: Run) -> None:
            run(
                "UPDATE conversations SET head = ? WHERE id = ?",
                (conversation.head, conversation.id),
            )
            for id in ids:
                run("DELETE FROM messages WHERE id = ? AND conversation = ?", (id, conversation.id))

        self._database.write(act)

    def rename(self, id: str, title: str) -> None:
        """Change the title of a conversation."""
        self._change("UPDATE conversations SET title = ? WHERE id = ?", (title, id))

    def delete(self, id: str) -> None:
        """Mark a conversation as deleted; `restore` brings it back until it is purged."""
        from mmtui.pipeline import prompt_folder

        prompt_folder.remove(id)
        self._change("UPDATE conversations SET deleted = ? WHERE id = ?", (_now(), id))

    def restore(self, id: str) -> str:
        """Restore the deleted conversation whose id starts with `id`, and return the full id.

        Raises:
            InputError: No deleted conversation or more than one matches.
        """
        full_id: str = self._find(id, "id", deleted=True)[0]
        self._change("UPDATE conversations SET deleted = NULL WHERE id = ?", (full_id,))
        return full_id

    def purge(self, older_than_s: float = 0.0) -> None:
        """Delete old conversations marked as deleted, and old unreferenced files, for good.

        Newer files stay: an unsent message of another instance may refer to them. All files stay
        beside a damaged store, whose messages may refer to them.
        """
        before = _now() - older_than_s
        self._change(
            "DELETE FROM conversations WHERE deleted <= ?"
            f" OR (NOT {HAS_MESSAGES} AND updated <= iif({HAS_DRAFT}, ?, ?))",
            (before, before - UNSENT_S, before),
        )
        with translate_errors(self.folder):
            if any(self.folder.glob(DAMAGED)):
                return
            self._attachments.remove_unreferenced(self.referenced_files(), before)

    def save_draft(self, conversation: Conversation, draft: Draft) -> None:
        """Write the draft of a conversation."""
        self._claim_drafting()
        staged = json.dumps([vars(file) for file in draft.attachments])
        self._change(
            "INSERT INTO conversations (id, title, system, updated, draft, staged, written)"
            f" VALUES (?, ?, ?, ?, ?, ?, {_NEXT_WRITE})"
            " ON CONFLICT (id) DO UPDATE SET draft = excluded.draft, staged = excluded.staged",
            (
                conversation.id,
                conversation.title,
                conversation.system,
                _now(),
                draft.text,
                staged,
            ),
        )

    def add_attachment(self, data: bytes) -> str:
        """Store the bytes of an attachment and return their SHA-256. Thread-safe."""
        with translate_errors(self.folder):
            return self._attachments.add(data)

    # Reading

    def file(self, attachment: Attachment) -> Path:
        """Return the file of an attachment. Raises InputError if it is missing. Thread-safe."""
        return self._attachments.path(attachment)

    def conversation(self, id: str) -> Conversation:
        """Return the conversation whose id starts with `id`.

        Raises:
            InputError: No conversation or more than one matches.
        """
        row = self._find(id, "id, title, system, head")
        messages = self._database.read(
            "SELECT number, id, parent, role, text, state, created, details FROM messages"
            " WHERE conversation = ? ORDER BY number",
            row[:1],
        )
        attachments = self._database.read(
            "SELECT message, sha256, kind, name, size, detail, transcript FROM attachments"
            " WHERE message IN (SELECT number FROM messages WHERE conversation = ?)"
            " ORDER BY message, place",
            row[:1],
        )
        return rows.to_conversation(row, messages, attachments)

    def referenced_files(self) -> set[str]:
        """Return the SHA-256 of every attachment of a message or a draft."""
        # Drafts first: a draft that is sent meanwhile is then found among the messages.
        referenced: set[str] = set()
        for (staged,) in self._database.read("SELECT staged FROM conversations"):
            referenced.update(re.findall("[0-9a-f]{64}", rows.to_text(staged)))
        return referenced | {
            sha for (sha,) in self._database.read("SELECT sha256 FROM attachments")
        }

    def recent_prompts(self, limit: int = 100) -> list[str]:
        """Return the last messages of the user in any conversation, the oldest first."""
        found = self._database.read(
            "SELECT text FROM messages WHERE role = 'user' AND text != ''"
            " ORDER BY number DESC LIMIT ?",
            (limit,),
        )
        return [rows.to_text(text) for (text,) in reversed(found)]

    def draft(self, id: str) -> Draft:
        """Return the draft of a conversation; an empty one if there is none."""
        found = self._database.read("SELECT draft, staged FROM conversations WHERE id = ?", (id,))
        return rows.to_draft(*found[0]) if found else Draft()

    def unsent_draft(self) -> tuple[str, Draft] | None:
        """Return the id and the draft of the latest chat if it has no messages.

        Returns:
            None if the chat has messages or another instance may be editing the draft.
        """
        if not self._claim_drafting():
            return None
        id = self.latest()
        unsent = f"SELECT 1 FROM conversations WHERE id = ? AND NOT {HAS_MESSAGES}"
        if id is None or not self._database.read(unsent, (id,)):
            return None
        return id, self.draft(id)

    def _claim_drafting(self) -> bool:
        """Lock the drafts for this instance; return False if another instance has the lock."""
        if self.is_readonly:
            return False
        with translate_errors(self.folder):
            try:
                self._drafting.acquire(timeout=0)
            except Timeout:
                return False
        return True

    def latest(self) -> str | None:
        """Return the id of the conversation whose message or draft was written last."""
        found = self._database.read(
            f"SELECT id FROM conversations WHERE deleted IS NULL AND ({HAS_DRAFT} OR"
            f" {HAS_MESSAGES}) AND typeof(id) = 'text' ORDER BY written DESC, rowid DESC LIMIT 1"
        )
        return found[0][0] if found else None

    def newest(self, limit: int = 100) -> list[Summary]:
        """Return the conversations that were written to last, the latest first."""
        return self._index.newest(limit)

    def search(self, text: str, limit: int = 100) -> list[Summary]:
        """Return conversations with a message or a title that contains all words of `text`.

        Parts of words match; case and accents are ignored. The order is that of `newest`.
        """
        return self._index.search(text, limit)

    # Implementation

    def _find(self, id: str, columns: str, deleted: bool = False) -> Row:
        """Return columns of the only conversation whose id starts with `id`."""
        found = self._database.read(
            f"SELECT {columns} FROM conversations"
            " WHERE substr(id, 1, ?) = ? AND (deleted IS NOT NULL) = ? LIMIT 2",
            (len(id), id, deleted),
        )
        if len(found) != 1 or not id:
            kind = "deleted conversation" if deleted else "conversation"
            what = f"several {kind}s begin" if found else f"no {kind} begins"
            hint = (
                "it is deleted for good after a day"
                if deleted
                else "`mmtui history list` shows them"
            )
            raise InputError(f"{what} with {id!r}", hint)
        return found[0]

    def _change(self, query: str, values: Row) -> None:
        self._database.write(lambda run: run(query, values))


def _now() -> float:
    return datetime.now(UTC).timestamp()
