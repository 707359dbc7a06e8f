"""The tables of the history, version by version."""

# Fills the search index with the folded text of each message and the transcripts in it.
# The text is cast to bytes, because SQLite does not pass invalid UTF-8 to a function as text.
INDEX_MESSAGES = """INSERT INTO words (number, text, transcript)
    SELECT number, fold(CAST(text AS BLOB)), fold(CAST((
        SELECT group_concat(transcript, ' ') FROM (
            SELECT transcript FROM attachments WHERE message = messages.number ORDER BY place)
        ) AS BLOB)) FROM messages WHERE number NOT IN (SELECT number FROM words)"""

# Each entry migrates from the version that is its index to the next one. Released entries are never
# changed.
MIGRATIONS = (
    (
        """CREATE TABLE conversations (
            id TEXT PRIMARY KEY, title TEXT NOT NULL, system TEXT NOT NULL, head TEXT,
            draft TEXT NOT NULL DEFAULT '', updated REAL NOT NULL, deleted REAL)""",
        "CREATE INDEX by_time ON conversations (updated)",
        """CREATE TABLE messages (
            number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
            conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
            parent TEXT, role TEXT NOT NULL, text TEXT NOT NULL, state TEXT NOT NULL,
            created REAL NOT NULL)""",
        "CREATE INDEX by_conversation ON messages (conversation)",
        """CREATE TABLE attachments (
            message INTEGER NOT NULL REFERENCES messages (number) ON DELETE CASCADE,
            place INTEGER NOT NULL, sha256 TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
            size INTEGER NOT NULL, detail TEXT NOT NULL, transcript TEXT NOT NULL,
            PRIMARY KEY (message, place))""",
        "CREATE VIRTUAL TABLE words USING fts5 (text, transcript, tokenize='unicode61')",
        """CREATE TRIGGER forget AFTER DELETE ON messages BEGIN
            DELETE FROM words WHERE rowid = old.number; END""",
    ),
    ("ALTER TABLE conversations ADD COLUMN staged TEXT NOT NULL DEFAULT '[]'",),
    (
        # A full-text index finds only words, which many scripts don't separate. `words` keeps its
        # name and columns, because an open chat of the previous version still writes to it.
        "DROP TABLE words",
        """CREATE TABLE words (
            number INTEGER PRIMARY KEY, text TEXT NOT NULL, transcript TEXT NOT NULL)""",
        INDEX_MESSAGES,
        # Counts writes, so that the order of conversations does not depend on a clock.
        "ALTER TABLE conversations ADD COLUMN written INTEGER NOT NULL DEFAULT 0",
        """UPDATE conversations SET written = coalesce(
            (SELECT max(number) FROM messages WHERE conversation = conversations.id),
            (SELECT max(number) FROM messages WHERE created <= conversations.updated), 0)""",
        "DROP INDEX by_time",
        "CREATE INDEX by_order ON conversations (written)",
    ),
    (
        # JSON: how a reply was generated, and its tool calls.
        "ALTER TABLE messages ADD COLUMN details TEXT NOT NULL DEFAULT ''",
    ),
)
VERSION = len(MIGRATIONS)
