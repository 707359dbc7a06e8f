"""Rows with invalid values are read as far as possible."""

import sqlite3
from contextlib import closing, suppress

import pytest
from history_data import execute, save_conversation, store_picture

from mmtui.chat.export import to_json, to_markdown
from mmtui.chat.history.history import History
from mmtui.errors import InputError

INVALID_VALUES = {
    "not a number": float("nan"), "infinite": float("inf"), "1e300": 1e300, "negative": -1e12,
    "text": "yesterday", "blob": b"\xff\x00", "number": 7, "controls": "\x1b[31m", "NULL": None,
}  # fmt: skip


COLUMNS = [
    "conversations.title", "conversations.system", "conversations.head", "conversations.draft",
    "conversations.updated", "conversations.staged", "conversations.written", "messages.parent",
    "messages.role", "messages.text", "messages.state", "messages.created", "messages.details",
    "attachments.sha256",
    "attachments.kind", "attachments.name", "attachments.size", "attachments.detail",
    "attachments.transcript",
]  # fmt: skip


@pytest.mark.parametrize("column", COLUMNS)
def test_an_invalid_value_affects_only_its_row(tmp_path, column):
    history = History(tmp_path)
    other = save_conversation(history, "an owl", "It is one.")
    changed = save_conversation(history, "a fox", "Yes.", "a fox", "Yes.")
    message = changed.say("a fox", (store_picture(history, transcript="a fox"),))
    history.save(changed, message)
    table, name = column.split(".")
    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as database, database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '')")
    where = {
        "conversations": "id = ?",
        "messages": "number = (SELECT max(number) - 1 FROM messages WHERE conversation = ?)",
        "attachments": "message IN (SELECT number FROM messages WHERE conversation = ?)",
    }[table]
    for value in INVALID_VALUES.values():
        execute(history, f"UPDATE {table} SET {name} = ? WHERE {where}", value, changed.id)
        again = History(tmp_path)
        assert {found.id for found in again.newest()} == {changed.id, other.id}
        assert [found.id for found in again.search("owl")] == [other.id]
        assert changed.id in [found.id for found in again.search("fox")]
        assert len(again.conversation(other.id).thread) == 2
        loaded = again.conversation(changed.id)
        assert len(loaded) == 5 and len(to_json(loaded)) and len(to_markdown(loaded))
        again.draft(changed.id)
        again.recent_prompts()
        assert again.latest() in (changed.id, other.id)
        for file in loaded.thread[-1].attachments:
            with suppress(InputError):
                again.file(file)
        again.close()


def test_messages_with_missing_or_circular_parents_stay_reachable(history):
    conversation = save_conversation(history, "one", "two", "three", "four")
    first, second, third, fourth = (message.id for message in conversation)
    execute(history, "UPDATE messages SET parent = ? WHERE id = ?", fourth, second)
    execute(history, "UPDATE messages SET parent = 'nobody' WHERE id = ?", third)
    execute(history, "UPDATE messages SET parent = id WHERE id = ?", fourth)
    execute(history, "UPDATE conversations SET head = 'nobody'")
    again = history.conversation(conversation.id)
    assert [message.id for message in again.thread] == [first, second, third, fourth]
    again.show_branch(first)
    assert again.head == fourth


def test_bytes_that_are_not_utf_8_are_replaced(history):
    conversation = save_conversation(history, "caf?")
    for statement in (
        "UPDATE messages SET text = CAST(x'636166ff' AS TEXT)",
        "UPDATE conversations SET title = CAST(x'636166ff' AS TEXT)",
    ):
        execute(history, statement)
    assert history.newest()[0].title == "caf\N{REPLACEMENT CHARACTER}"
    assert history.conversation(conversation.id).thread[0].text == "caf\N{REPLACEMENT CHARACTER}"
    assert history.recent_prompts() == ["caf\N{REPLACEMENT CHARACTER}"]
