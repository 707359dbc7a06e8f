"""`mmtui history`, as people and scripts run it."""

from pathlib import Path

import pytest

from mmtui.chat.conversation import Conversation
from mmtui.chat.history import History


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"XDG_DATA_HOME": str(tmp_path / "data")}


@pytest.fixture
def talk(tmp_path: Path) -> Conversation:
    """The one in the history."""
    history, conversation = History(tmp_path / "data" / "mmtui"), Conversation()
    history.save(conversation, conversation.say("About volcanoes"))
    history.close()
    return conversation


def test_a_conversation_is_renamed(mmtui, home, talk):
    run = mmtui("history", "rename", talk.id[:8], "Hot", "\x1b[31mstones", env=home)
    assert (run.code, run.out) == (0, "Hot [31mstones\n"), run.err
    (found,) = mmtui("history", "list", "--json", env=home).json
    assert (found["id"], found["title"]) == (talk.id, "Hot \x1b[31mstones")


def test_a_title_and_a_conversation_are_needed_to_rename(mmtui, home, talk):
    empty = mmtui("history", "rename", talk.id[:8], " ", env=home)
    assert (empty.code, "a title can't be empty" in empty.err) == (2, True)
    none = mmtui("history", "rename", "zzz", "Title", env=home)
    assert (none.code, "no conversation begins" in none.err) == (4, True)


def test_bytes_that_are_no_text_find_nothing(mmtui, home, talk):
    run = mmtui("history", "search", "\udcff", env=home)
    assert (run.code, run.err) == (0, "there is none\n")
    run = mmtui("history", "show", "\udcff", env=home)
    assert (run.code, "no conversation begins" in run.err) == (4, True)


def test_an_export_overwrites_nothing_unless_it_is_told_to(mmtui, home, talk, tmp_path):
    file = tmp_path / "talk.md"
    file.write_text("mine")
    run = mmtui("history", "export", talk.id, file, env=home)
    assert (run.code, run.out, file.read_text()) == (2, "", "mine")
    assert f"error: {file} is there already" in run.err and "hint: choose another name" in run.err
    assert mmtui("history", "export", talk.id, file, "--force", env=home).code == 0
    assert file.read_text().startswith("# About volcanoes\n")
