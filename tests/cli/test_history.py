"""`mmtui history`: list, search, show, rename and export."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mmtui.chat.conversation import Conversation
from mmtui.chat.history.history import History


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"XDG_DATA_HOME": str(tmp_path / "data")}


@pytest.fixture
def conversation(tmp_path: Path) -> Conversation:
    """Save a history with one conversation, and return it."""
    history, conversation = History(tmp_path / "data" / "mmtui"), Conversation()
    history.save(conversation, conversation.say("About volcanoes"))
    history.close()
    return conversation


def test_a_conversation_is_renamed(mmtui, home, conversation):
    run = mmtui("history", "rename", conversation.id[:8], "Hot", "\x1b[31mstones", env=home)
    assert (run.code, run.out) == (0, "Hot [31mstones\n"), run.err
    (found,) = mmtui("history", "list", "--json", env=home).json
    assert (found["id"], found["title"]) == (conversation.id, "Hot \x1b[31mstones")


def test_renaming_requires_a_title_and_an_existing_conversation(mmtui, home, conversation):
    run = mmtui("history", "rename", conversation.id[:8], " ", env=home)
    assert (run.code, "a title can't be empty" in run.err) == (2, True)
    run = mmtui("history", "rename", "zzz", "Title", env=home)
    assert (run.code, "no conversation begins" in run.err) == (4, True)


def test_an_argument_that_is_not_text_finds_nothing(mmtui, home, conversation):
    run = mmtui("history", "search", "\udcff", env=home)
    assert (run.code, run.err) == (0, "no conversations found\n")
    run = mmtui("history", "show", "\udcff", env=home)
    assert (run.code, "no conversation begins" in run.err) == (4, True)


def test_an_export_overwrites_a_file_only_with_force(mmtui, home, conversation, tmp_path):
    file = tmp_path / "conversation.md"
    file.write_text("mine")
    run = mmtui("history", "export", conversation.id, file, env=home)
    assert (run.code, run.out, file.read_text()) == (2, "", "mine")
    assert f"error: {file} exists" in run.err and "hint: choose another name" in run.err
    assert mmtui("history", "export", conversation.id, file, "--force", env=home).code == 0
    assert file.read_text().startswith("# About volcanoes\n")


def test_control_characters_in_the_database_are_not_printed(mmtui, home, conversation, tmp_path):
    """Every column of text has control characters."""
    hostile = "\x1b]52;c;aGk=\x07\x9b31m\u202e"
    database = tmp_path / "data" / "mmtui" / "history.sqlite"
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute(
            "INSERT INTO attachments VALUES (1, 0, ?, 'image', ?, 1, ?, ?)",
            (hostile, hostile, hostile, hostile),
        )
        opened.execute("UPDATE conversations SET title = ?, system = ?", (hostile, hostile))
        opened.execute("UPDATE messages SET text = text || ?, role = ?, state = ?", (hostile,) * 3)
    for arguments in (["list"], ["search", "volcanoes"], ["show", conversation.id]):
        run = mmtui("history", *arguments, env=home)
        assert run.code == 0 and run.out, run.err
        assert not set(run.out + run.err) & set("\x1b\x07\x9b\u202e")


def test_a_damaged_history_is_salvaged_with_a_note(mmtui, home, conversation, tmp_path):
    folder = tmp_path / "data" / "mmtui"
    with closing(sqlite3.connect(folder / "history.sqlite")) as opened:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'words'"
        ((page,),) = opened.execute(query).fetchall()
    with (folder / "history.sqlite").open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    run = mmtui("history", "search", "cano", env=home)
    assert run.code == 0 and conversation.id[:8] in run.out
    assert "messages: 1, conversations: 1" in run.err
    assert "with a new search index" in run.err and "hint: the damaged file is kept" in run.err
    assert list(folder.glob("history-damaged-*.sqlite"))
    assert mmtui("history", "search", "cano", env=home).err == ""
