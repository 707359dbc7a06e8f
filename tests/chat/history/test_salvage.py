"""A damaged history is salvaged with a notice, and the damaged file is kept."""

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mmtui.chat.conversation import Attachment, Conversation, Draft, ReplyDetails
from mmtui.chat.history.history import History

PAGE = 4096
DETAILS = ReplyDetails("smol", 9, 50.0)


@pytest.fixture(scope="module")
def intact_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save 39 conversations of 10 messages, some of which fill several pages."""
    history = History(tmp_path_factory.mktemp("intact"))
    sha256 = history.add_attachment(b"pixels")
    for number in range(40):
        conversation = Conversation()
        for position in range(10):
            file = Attachment(sha256, "image", f"{number}.png", 6, "1 x 1")
            message = conversation.say(f"message {number}-{position} {'text ' * 20}", (file,))
            if number % 10 == 9 and position == 5:
                message.text += "long " * 3000
            message.details = DETAILS
            history.save(conversation, message)
        history.save_draft(conversation, Draft(f"draft {number}"))
    history.delete(history.newest()[0].id)
    history.purge()
    history.close()
    return history.folder


@pytest.fixture
def store(intact_store: Path, tmp_path: Path) -> Path:
    shutil.copytree(intact_store, tmp_path / "store")
    return tmp_path / "store"


def damage(store: Path, number: int, garbage: bytes = b"\xff") -> None:
    """Overwrite the page with this number; the first one is 1."""
    with (store / "history.sqlite").open("r+b") as file:
        file.seek((number - 1) * PAGE)
        file.write((garbage * PAGE)[:PAGE])


def find_root_page(store: Path, name: str) -> int:
    """Return the number of the first page of a table or an index."""
    with closing(sqlite3.connect(store / "history.sqlite")) as database:
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        return database.execute(query, (name,)).fetchone()[0]


def read_all(store: Path, notices: list[str]) -> list[Conversation]:
    """Open a store, append its notices to a list, and return all conversations."""
    history = History(store, notify=lambda *lines: notices.append("\n".join(filter(None, lines))))
    conversations = [history.conversation(found.id) for found in history.newest(1000)]
    history.search("message")
    history.latest()
    history.purge()
    history.close()
    return conversations


@pytest.mark.parametrize(
    "table", ["messages", "conversations", "attachments", "words", "by_conversation", "by_order"]
)
def test_all_rows_below_a_damaged_root_page_are_salvaged(store, table):
    notices: list[str] = []
    damage(store, find_root_page(store, table))
    found = read_all(store, notices)
    assert len(found) == 39 and sum(map(len, found)) == 390
    assert {len(message.attachments) for conversation in found for message in conversation} == {1}
    assert {message.details for conversation in found for message in conversation} == {DETAILS}
    assert len(notices) == 1 and "messages: 390, conversations: 39" in notices[0]
    (damaged_file,) = store.glob("history-damaged-*.sqlite")
    assert str(damaged_file) in notices[0] and (store / "history.sqlite").exists()
    assert len(read_all(store, notices)) == 39 and len(notices) == 1
    assert History(store).search("message 3-7")[0].messages == 10
    assert list(store.glob("attachments/??/*"))


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_page_loses_at_most_its_own_rows(store, seed):
    generator = random.Random(seed)
    pages = (store / "history.sqlite").stat().st_size // PAGE
    garbage = generator.choice([b"\0", b"\xff", generator.randbytes(PAGE)])
    damage(store, generator.randint(1, pages), garbage)
    found = read_all(store, [])
    assert sum(map(len, found)) > 390 - PAGE // 100
    assert all(conversation.thread for conversation in found if len(conversation))


def test_the_rest_of_a_truncated_file_is_salvaged(store):
    file = store / "history.sqlite"
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)
    notices: list[str] = []
    assert sum(map(len, read_all(store, notices))) > 50
    assert len(notices) == 1


def test_a_conversation_whose_row_is_lost_is_restored_from_its_messages(tmp_path):
    history = History(tmp_path)
    conversation = Conversation()
    history.save(conversation, conversation.say("About volcanoes"))
    history.close()
    damage(tmp_path, find_root_page(tmp_path, "conversations"))
    (found,) = read_all(tmp_path, [])
    assert (found.id, found.title) == (conversation.id, "About volcanoes")


def test_rows_that_are_only_in_the_write_ahead_log_are_salvaged(store, tmp_path):
    history = History(store)
    conversation = Conversation()
    history.save(conversation, conversation.say("not checkpointed"))
    crashed = tmp_path / "crashed"
    shutil.copytree(store, crashed)
    damage(crashed, find_root_page(store, "attachments"))
    assert conversation.id in [found.id for found in read_all(crashed, [])]


def test_another_instance_continues_with_the_new_file(store):
    other = History(store)
    damage(store, find_root_page(store, "by_conversation"))
    assert len(read_all(store, [])) == 39
    conversation = Conversation()
    other.save(conversation, conversation.say("still here"))
    assert History(store).search("still here")[0].id == conversation.id


def test_an_old_history_with_a_damaged_full_text_index_is_salvaged(store):
    from mmtui.chat.history.schema import MIGRATIONS

    (store / "history.sqlite").unlink()
    with closing(sqlite3.connect(store / "history.sqlite")) as database, database:
        for statement in (*MIGRATIONS[0], *MIGRATIONS[1]):
            database.execute(statement)
        database.execute(
            "INSERT INTO conversations (id, title, system, updated) VALUES ('a', 't', '', 1.0)"
        )
        for number in range(300):
            text = f"message {number} " + "long " * 100
            database.execute(
                "INSERT INTO messages VALUES (?, ?, 'a', NULL, 'user', ?, 'complete', 1.0)",
                (number, f"m{number}", text),
            )
            database.execute(
                "INSERT INTO words (rowid, text, transcript) VALUES (?, ?, '')", (number, text)
            )
        database.execute("PRAGMA user_version = 2")
    for table in ("words_data", "words_content"):
        damage(store, find_root_page(store, table))
    notices: list[str] = []
    (found,) = read_all(store, notices)
    assert len(found) == 300
    assert History(store).search("message 299")[0].id == "a"
