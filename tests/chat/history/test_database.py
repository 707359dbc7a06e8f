"""The database survives kills, locks, full disks and several writers."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from history_data import save_conversation

from mmtui.chat.history.database import HistoryError
from mmtui.chat.history.history import History
from mmtui.errors import MmtuiError


def test_hostile_text_is_stored_unchanged(history):
    hostile = "\x1b]52;c;aGk=\x07 \ud800 [/] '; DROP TABLE messages; --" + "x" * 100_000
    conversation = save_conversation(history, hostile)
    again = history.conversation(conversation.id).thread[0].text
    assert again == hostile.replace("\ud800", "?")


def test_a_store_of_a_newer_version_is_not_changed(tmp_path):
    History(tmp_path).close()
    with sqlite3.connect(tmp_path / "history.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    before = (tmp_path / "history.sqlite").read_bytes()
    with pytest.raises(MmtuiError, match="newer mmtui"):
        History(tmp_path)
    assert (tmp_path / "history.sqlite").read_bytes() == before


@pytest.mark.parametrize("obstacle", ["a folder that is a file", "a file that is no database"])
def test_a_store_that_can_t_be_used_is_an_error_with_a_hint(tmp_path, obstacle):
    folder = tmp_path / "store"
    if obstacle == "a folder that is a file":
        folder.touch()
    else:
        folder.mkdir()
        (folder / "history.sqlite").write_bytes(b"this is not SQLite" * 300)
    with pytest.raises(MmtuiError, match="can't be used") as raised:
        History(folder).search("one")
    hint = "permissions" if obstacle == "a folder that is a file" else "move history.sqlite"
    assert hint in raised.value.hint
    if folder.is_dir():
        assert [file.name for file in folder.glob("*.sqlite")] == ["history.sqlite"]


def test_a_lock_of_another_program_is_reported_as_a_lock(history):
    conversation = save_conversation(history, "one")
    history.set_busy_timeout(0)
    with closing(sqlite3.connect(history.folder / "history.sqlite")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(HistoryError, match="locked") as raised:
            history.rename(conversation.id, "two")
        assert [found.title for found in history.newest()] == ["one"]
    assert "another program" in raised.value.hint and "space" not in raised.value.hint
    history.rename(conversation.id, "two")


def test_two_instances_write_to_one_store(history):
    other = History(history.folder)
    mine, theirs = save_conversation(history, "mine"), save_conversation(other, "theirs")
    history.save(mine, mine.say("again"))
    assert {s.title for s in other.newest()} == {"mine", "theirs"}
    assert len(history.conversation(theirs.id)) == 1


def test_several_processes_can_create_a_store_at_once(tmp_path):
    code = "import sys; from pathlib import Path; from mmtui.chat.history.history import History;" \
        "sys.stdin.readline(); History(Path(sys.argv[1])).newest()"  # fmt: skip
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.close()
    assert [process.wait(60) for process in processes] == [0] * 4


def test_a_kill_loses_nothing_that_was_saved(tmp_path):
    code = """if True:
        import sys
        from pathlib import Path
        from mmtui.chat.conversation import Conversation
        from mmtui.chat.history.history import History
        history, conversation = History(Path(sys.argv[1])), Conversation()
        for number in range(100_000):
            history.save(conversation, conversation.say(f"message {number}"))
            print(number, flush=True)
    """
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout
    for _ in range(20):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    printed = 19 + len(process.stdout.read().splitlines())
    process.wait()
    (summary,) = History(tmp_path).newest()
    assert summary.messages >= printed + 1


def test_a_full_disk_is_reported_and_leaves_saved_messages_intact(history):
    conversation = save_conversation(history, "one")
    ((pages,),) = history._database.read("PRAGMA page_count")
    history._database.read(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(HistoryError, match="can't be used") as raised:
        history.save(conversation, conversation.say("x" * 100_000))
    assert (raised.value.reason, raised.value.hint) == ("disk full", "free some disk space")
    assert [m.text for m in History(history.folder).conversation(conversation.id)] == ["one"]
