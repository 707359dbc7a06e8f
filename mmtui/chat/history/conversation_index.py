"""Lists of conversations: the newest ones, and those that contain certain words."""

from dataclasses import dataclass
from datetime import datetime

from mmtui.chat.history import rows
from mmtui.chat.history.database import Database, Notify
from mmtui.chat.history.schema import INDEX_MESSAGES
from mmtui.chat.history.search import make_snippet, split_terms

HAS_MESSAGES = "EXISTS (SELECT 1 FROM messages WHERE conversation = conversations.id)"
HAS_DRAFT = "(draft != '' OR staged != '[]')"


@dataclass(frozen=True)
class Summary:
    """A conversation in a list.

    Attributes:
        id: The id of the conversation.
        title: Its title.
        updated: When a message was last written.
        messages: The number of its messages.
        pictures: The SHA-256 of the first pictures in it.
        has_draft: Whether something is typed or attached and not sent yet.
        snippet: The text around the words that a search found; empty without a search.
    """

    id: str
    title: str
    updated: datetime
    messages: int
    pictures: tuple[str, ...]
    has_draft: bool
    snippet: str = ""


class ConversationIndex:
    """Lists and searches the conversations that have messages.

    Every method raises HistoryError if the database can't be read.
    """

    def __init__(self, database: Database, notify: Notify) -> None:
        """Use a database; `notify` is called after the search index was rebuilt."""
        self._database, self._notify = database, notify

    def newest(self, limit: int) -> list[Summary]:
        """Return the conversations that were written to last, the latest first."""
        found = self._database.read(
            f"SELECT id, title, updated, {HAS_DRAFT} FROM conversations WHERE deleted IS NULL"
            f" AND {HAS_MESSAGES} AND typeof(id) = 'text'"
            " ORDER BY written DESC, rowid DESC LIMIT ?",
            (limit,),
        )
        return [self._summarize(*row) for row in found]

    def search(self, text: str, limit: int) -> list[Summary]:
        """Return conversations whose title or one of whose messages contains all words."""
        terms = split_terms(text)
        if not terms:
            return self.newest(limit)
        found = self._search(terms, limit)
        if not found and self._restore_index():
            found = self._search(terms, limit)
        return found

    def _search(self, terms: list[str], limit: int) -> list[Summary]:
        in_message = " AND ".join(["instr(w.text || ' ' || w.transcript, ?)"] * len(terms))
        in_title = " AND ".join(["instr(fold(CAST(title AS BLOB)), ?)"] * len(terms))
        found = self._database.read(
            f"SELECT id, title, updated, {HAS_DRAFT}, number FROM conversations LEFT JOIN ("
            " SELECT m.conversation, max(m.number) AS number FROM words w"
            f" JOIN messages m ON m.number = w.number WHERE {in_message} GROUP BY m.conversation)"
            " ON conversation = id"
            f" WHERE deleted IS NULL AND {HAS_MESSAGES} AND typeof(id) = 'text'"
            f" AND (number IS NOT NULL OR ({in_title}))"
            " ORDER BY written DESC, conversations.rowid DESC LIMIT ?",
            (*terms, *terms, limit),
        )
        return [
            self._summarize(id, title, updated, has_draft, self._snippet(number, terms))
            for id, title, updated, has_draft, number in found
        ]

    def _snippet(self, number: int | None, terms: list[str]) -> str:
        """Return the text around a match in a message; empty if the title matched."""
        texts = self._database.read(
            "SELECT text FROM messages WHERE number = ?1 UNION ALL"
            " SELECT transcript FROM attachments WHERE message = ?1",
            (number,),
        )
        return make_snippet(" ".join(rows.to_text(text) for (text,) in texts), terms)

    def _restore_index(self) -> bool:
        """Add messages missing in the search index and notify; return whether there were any."""
        missing = "SELECT 1 FROM messages WHERE number NOT IN (SELECT number FROM words) LIMIT 1"
        if self._database.is_readonly or not self._database.read(missing):
            return False
        self._database.write(lambda run: run(INDEX_MESSAGES))
        self._notify("the search index was damaged, and has been rebuilt", None)
        return True

    def _summarize(
        self, id: str, title: object, updated: object, has_draft: object, snippet: str = ""
    ) -> Summary:
        ((count,),) = self._database.read(
            "SELECT count(*) FROM messages WHERE conversation = ?", (id,)
        )
        pictures = self._database.read(
            "SELECT a.sha256 FROM attachments a JOIN messages m ON m.number = a.message"
            " WHERE m.conversation = ? AND a.kind = 'image' ORDER BY a.message, a.place LIMIT 3",
            (id,),
        )
        shas = tuple(rows.to_text(sha) for (sha,) in pictures)
        return Summary(
            id, rows.to_text(title), rows.to_time(updated), count, shas, bool(has_draft), snippet
        )
