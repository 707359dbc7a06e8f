"""A damaged history: what can be read is read, the damaged file is kept, and it is told."""

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mmtui.chat.conversation import Attachment, Conversation, Draft
from mmtui.chat.history.history import History

PAGE = 4096


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with 40 conversations of 10 messages, some of which fill several pages."""
    history = History(tmp_path_factory.mktemp("whole"))
    sha256 = history.add_attachment(b"pixels")
    for number in range(40):
        conversation = Conversation()
        for at in range(10):
            file = Attachment(sha256, "image", f"{number}.png", 6, "1 x 1")
            said = conversation.say(f"message {number}-{at} {'text ' * 20}", (file,))
            if number % 10 == 9 and at == 5:
                said.text += "long " * 3000
            history.save(conversation, said)
        history.save_draft(conversation, Draft(f"draft {number}"))
    gone = history.newest()[0].id
    history.delete(gone)
    history.purge()
    history.close()
    return history.folder


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "store")
    return tmp_path / "store"


def damage(store: Path, number: int, garbage: bytes = b"\xff") -> None:
    """Overwrite a page, counted from 1."""
    with (store / "history.sqlite").open("r+b") as file:
        file.seek((number - 1) * PAGE)
        file.write((garbage * PAGE)[:PAGE])


def root(store: Path, name: str) -> int:
    with closing(sqlite3.connect(store / "history.sqlite")) as database:
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        return database.execute(query, (name,)).fetchone()[0]


def read_all(store: Path, told: list[str]) -> list[Conversation]:
    history = History(store, notify=lambda *said: told.append("\n".join(filter(None, said))))
    found = [history.conversation(found.id) for found in history.newest(1000)]
    history.search("message")
    history.latest()
    history.purge()
    history.close()
    return found


@pytest.mark.parametrize(
    "table", ["messages", "conversations", "attachments", "words", "by_conversation", "by_order"]
)
def test_a_damaged_root_hides_nothing_below_it(store, table):
    told: list[str] = []
    damage(store, root(store, table))
    found = read_all(store, told)
    assert len(found) == 39 and sum(map(len, found)) == 390
    assert {len(message.attachments) for one in found for message in one} == {1}
    assert len(told) == 1 and "messages: 390, conversations: 39" in told[0]
    (kept,) = store.glob("history-damaged-*.sqlite")
    assert str(kept) in told[0] and (store / "history.sqlite").exists()
    assert len(read_all(store, told)) == 39 and len(told) == 1
    assert History(store).search("message 3-7")[0].messages == 10
    assert list(store.glob("attachments/??/*"))


@pytest.mark.parametrize("seed", range(12))
def test_any_damaged_page_costs_at_most_what_is_on_it(store, seed):
    chance = random.Random(seed)
    pages = (store / "history.sqlite").stat().st_size // PAGE
    garbage = chance.choice([b"\0", b"\xff", chance.randbytes(PAGE)])
    damage(store, chance.randint(1, pages), garbage)
    found = read_all(store, [])
    assert sum(map(len, found)) > 390 - PAGE // 100
    assert all(one.thread for one in found if len(one))


def test_a_file_that_is_cut_off_gives_what_is_left(store):
    file = store / "history.sqlite"
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)
    told: list[str] = []
    assert sum(map(len, read_all(store, told))) > 50
    assert len(told) == 1


def test_a_conversation_whose_own_row_is_lost_comes_back_by_its_messages(tmp_path):
    history = History(tmp_path)
    conversation = Conversation()
    history.save(conversation, conversation.say("About volcanoes"))
    history.close()
    damage(tmp_path, root(tmp_path, "conversations"))
    (found,) = read_all(tmp_path, [])
    assert (found.id, found.title) == (conversation.id, "About volcanoes")


def test_what_is_in_the_log_only_is_read_too(store, tmp_path):
    history = History(store)
    conversation = Conversation()
    history.save(conversation, conversation.say("not checkpointed"))
    crashed = tmp_path / "crashed"
    shutil.copytree(store, crashed)
    damage(crashed, root(store, "attachments"))
    assert conversation.id in [found.id for found in read_all(crashed, [])]


def test_another_instance_goes_on_with_the_new_file(store):
    other = History(store)
    damage(store, root(store, "by_conversation"))
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
        damage(store, root(store, table))
    told: list[str] = []
    (found,) = read_all(store, told)
    assert len(found) == 300
    assert History(store).search("message 299")[0].id == "a"
