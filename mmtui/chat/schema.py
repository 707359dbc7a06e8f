"""The tables of the history, version by version."""

# Each entry takes the schema from its index to the next one; a released one is never changed.
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
)
VERSION = len(MIGRATIONS)
