"""The store: what was written is found again, whatever happened meanwhile."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from mmtui.chat.conversation import Attachment, Conversation, Draft
from mmtui.chat.export import to_json, to_markdown
from mmtui.chat.history.database import HistoryError
from mmtui.chat.history.history import UNSENT_S, History
from mmtui.chat.history.schema import MIGRATIONS
from mmtui.errors import InputError, MmtuiError
from mmtui.pipeline import prompt_folder


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "store")


def saved(history: History, *texts: str) -> Conversation:
    conversation = Conversation()
    for number, text in enumerate(texts):
        message = conversation.answer() if number % 2 else conversation.say(text)
        message.text, message.state = text, "complete"
        history.save(conversation, message)
    return conversation


def picture(history: History, data: bytes = b"pixels", transcript: str = "") -> Attachment:
    return Attachment(
        history.add_attachment(data), "image", "a cat.jpg", len(data), "9 x 9", transcript
    )


def alter(history: History, statement: str, *values: object) -> None:
    """As another program would."""
    with closing(sqlite3.connect(history.folder / "history.sqlite")) as database, database:
        database.execute(statement, values)


def test_a_conversation_comes_back_with_all_its_branches(history):
    conversation = saved(history, "What is this?", "A cat.")
    conversation.system = "Be brief."
    edited = conversation.edit(conversation.thread[0].id, "And this?")
    edited.attachments = (picture(history), picture(history, b"other"))
    history.save(conversation, edited)
    again = History(history.folder).conversation(conversation.id[:8])
    assert [m.text for m in again] == ["What is this?", "A cat.", "And this?"]
    assert again.thread == [edited]
    assert (again.title, again.system) == ("What is this?", "Be brief.")


def test_what_an_answer_has_become_replaces_what_it_was(history):
    conversation = saved(history, "Hi")
    answer = conversation.answer()
    for text, state in (("", "writing"), ("He", "writing"), ("Hello.", "complete")):
        answer.text, answer.state = text, state
        history.save(conversation, answer)
    assert [m.text for m in history.conversation(conversation.id)] == ["Hi", "Hello."]
    assert [s.title for s in history.search("hello")] == ["Hi"]
    assert history.search("writing") == []


def test_an_answer_that_was_being_written_at_a_crash_is_a_stopped_one(history):
    conversation = saved(history, "Hi")
    answer = conversation.answer()
    answer.text = "Hel"
    history.save(conversation, answer)
    again = history.conversation(conversation.id).thread[-1]
    assert (again.text, again.state) == ("Hel", "stopped")


def test_attachments_outlive_their_files_and_are_stored_once(history, tmp_path):
    conversation = saved(history, "Hi")
    said = conversation.say("Look", (picture(history), picture(history)))
    history.save(conversation, said)
    files = [f for f in (history.folder / "attachments").rglob("*") if f.is_file()]
    assert [f.read_bytes() for f in files] == [b"pixels"]
    (kept, _) = history.conversation(conversation.id).thread[-1].attachments
    assert history.file(kept).read_bytes() == b"pixels"
    assert history.newest()[0].pictures == (kept.sha256, kept.sha256)
    files[0].unlink()
    with pytest.raises(InputError, match=r"a cat.jpg is no longer"):
        history.file(kept)


def test_the_newest_conversation_is_the_first_and_the_one_to_resume(history):
    assert history.latest() is None
    first, second = saved(history, "one"), saved(history, "two")
    assert [s.title for s in history.newest()] == ["two", "one"]
    history.save(first, first.answer())
    assert history.latest() == first.id != second.id
    history.rename(first.id, "uno")
    assert [s.title for s in history.newest()] == ["uno", "two"]


def test_a_deletion_can_be_undone_until_it_is_purged(history):
    conversation = saved(history, "one")
    history.save(conversation, conversation.say("Look", (picture(history),)))
    other = saved(history, "two")
    history.delete(conversation.id)
    history.purge(older_than_s=60)
    assert [s.id for s in history.newest()] == [other.id] and history.search("one") == []
    with pytest.raises(InputError, match="no conversation begins"):
        history.conversation(conversation.id)
    assert history.restore(conversation.id[:8]) == conversation.id
    assert len(history.newest()) == 2
    history.delete(conversation.id)
    history.purge()
    with pytest.raises(InputError, match="no deleted conversation begins"):
        history.restore(conversation.id)
    assert [s.id for s in history.newest()] == [other.id]
    assert not [f for f in (history.folder / "attachments").rglob("*") if f.is_file()]


def test_what_was_deleted_goes_by_itself_after_a_day(history):
    gone, back = saved(history, "one").id, saved(history, "two").id
    for id in (gone, back):
        history.delete(id)
    alter(history, "UPDATE conversations SET deleted = deleted - 90000 WHERE id = ?", gone)
    History(history.folder).close()
    history.restore(back)
    with pytest.raises(InputError, match="no deleted conversation"):
        history.restore(gone)


def test_what_a_model_has_read_of_a_conversation_is_deleted_with_it(history, cache):
    conversation = saved(history, "one")
    file = prompt_folder.get_path(conversation.id)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"state")
    history.delete(conversation.id)
    assert not file.exists()


def test_only_one_deletion_is_undone_at_once(history):
    gone = [saved(history, f"{number}").id for number in range(17)]  # two begin with one digit
    for id in gone:
        history.delete(id)
    digit = next(id[0] for id in gone if sum(other[0] == id[0] for other in gone) > 1)
    for begun in (digit, ""):
        with pytest.raises(InputError, match="several deleted conversations begin"):
            history.restore(begun)
    assert history.newest() == []


def test_what_is_attached_and_not_sent_yet_is_not_purged(history):
    other = History(history.folder)
    staged = picture(other)
    history.purge(older_than_s=60)
    assert history.file(staged).exists()
    os.utime(history.file(staged), (0, 0))
    picture(other)  # the same bytes again: they are new
    history.purge(older_than_s=60)
    assert history.file(staged).exists()
    history.purge()
    with pytest.raises(InputError):
        history.file(staged)


def test_what_the_user_said_last_comes_in_order(history):
    saved(history, "one", "not this", "two")
    saved(history, "three")
    assert history.recent_prompts() == ["one", "two", "three"] and history.recent_prompts(2) == [
        "two",
        "three",
    ]


def test_drafts_are_kept_beside_the_messages(history):
    conversation = saved(history, "one")
    history.save_draft(conversation, Draft("half a thou"))
    assert History(history.folder).draft(conversation.id) == Draft("half a thou")
    assert history.draft("none") == Draft()
    unsent, dear = Conversation(), Draft("Dear", (Attachment("a" * 64, "audio", "\udc80", 9),))
    history.save_draft(unsent, dear)
    assert history.latest() == unsent.id and history.draft(unsent.id).text == "Dear"
    assert [s.id for s in history.newest()] == [conversation.id]
    assert History(history.folder).unsent_draft() is None  # it is still being typed
    history.save_draft(unsent, Draft("", dear.attachments))
    assert history.latest() == unsent.id
    history.save_draft(unsent, Draft())
    assert history.latest() == conversation.id


def test_a_draft_of_a_chat_without_words_is_kept_for_a_month(history):
    unsent, sha256 = Conversation(), history.add_attachment(b"a picture")
    history.save_draft(unsent, Draft("", (Attachment(sha256, "image", "a.png", 9),)))
    history.purge()
    assert history.draft(unsent.id).attachments and list(history.folder.glob("attachments/??/*"))
    history.purge(-UNSENT_S - 1)  # as it will be then
    assert history.draft(unsent.id) == Draft()
    assert not list(history.folder.glob("attachments/??/*"))


def test_a_store_of_the_first_version_goes_on_and_damaged_drafts_are_none(tmp_path):
    (tmp_path / "attachments").mkdir()
    with sqlite3.connect(tmp_path / "history.sqlite") as database:
        for statement in MIGRATIONS[0]:
            database.execute(statement)
        database.execute("INSERT INTO conversations VALUES ('a', 't', '', NULL, 'old', 1.0, NULL)")
        database.execute("PRAGMA user_version = 1")
    history = History(tmp_path)
    assert history.draft("a") == Draft("old")
    for damaged in ("[{", '["x"]', '[{"color": 1}]', "7"):
        alter(history, "UPDATE conversations SET staged = ?", damaged)
        assert history.draft("a") == Draft("old")
    history.purge()


def test_hostile_text_is_stored_as_it_is(history):
    nasty = "\x1b]52;c;aGk=\x07 \ud800 [/] '; DROP TABLE messages; --" + "x" * 100_000
    conversation = saved(history, nasty)
    again = history.conversation(conversation.id).thread[0].text
    assert again == nasty.replace("\ud800", "?")


def test_ids_are_unique_beginnings(history):
    saved(history, "one")
    with pytest.raises(InputError, match="no conversation begins"):
        history.conversation("zzz")
    with pytest.raises(InputError):
        history.conversation("")
    with pytest.raises(InputError):
        history.conversation("%")
    with pytest.raises(InputError):
        history.conversation("\udcff")


def test_a_store_of_a_newer_version_is_left_alone(tmp_path):
    History(tmp_path).close()
    with sqlite3.connect(tmp_path / "history.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    before = (tmp_path / "history.sqlite").read_bytes()
    with pytest.raises(MmtuiError, match="newer mmtui"):
        History(tmp_path)
    assert (tmp_path / "history.sqlite").read_bytes() == before


@pytest.mark.parametrize("obstacle", ["a folder that is a file", "no database"])
def test_a_store_that_can_t_be_used_is_an_error_with_its_cure(tmp_path, obstacle):
    folder = tmp_path / "store"
    if obstacle == "a folder that is a file":
        folder.touch()
    else:
        folder.mkdir()
        (folder / "history.sqlite").write_bytes(b"this is not SQLite" * 300)
    with pytest.raises(MmtuiError, match="can't be used") as caught:
        History(folder).search("one")
    cure = "permissions" if obstacle == "a folder that is a file" else "move history.sqlite"
    assert cure in caught.value.hint
    assert obstacle != "no database" or [file.name for file in folder.glob("*.sqlite")] == [
        "history.sqlite"
    ]


def test_a_lock_of_another_program_is_no_full_disk(history):
    conversation = saved(history, "one")
    history.set_busy_timeout(0)
    with closing(sqlite3.connect(history.folder / "history.sqlite")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(HistoryError, match="locked") as caught:
            history.rename(conversation.id, "two")
        assert [found.title for found in history.newest()] == ["one"]
    assert "another program" in caught.value.hint and "space" not in caught.value.hint
    history.rename(conversation.id, "two")


def test_the_conversation_written_last_is_resumed_whatever_the_clock_said(history):
    ahead, last = saved(history, "from the future"), saved(history, "now")
    alter(history, "UPDATE conversations SET updated = 9e9 WHERE id = ?", ahead.id)
    alter(history, "UPDATE messages SET created = 9e9 WHERE conversation = ?", ahead.id)
    assert history.latest() == last.id
    assert [found.id for found in history.newest()] == [last.id, ahead.id]
    history.save(ahead, ahead.say("again"))
    assert history.latest() == ahead.id
    alter(history, "UPDATE conversations SET written = 'x' WHERE id = ?", ahead.id)
    history.save(last, last.say("more"))
    assert len(history.newest()) == 2


ODD_VALUES = {
    "not a number": float("nan"), "infinite": float("inf"), "1e300": 1e300, "negative": -1e12,
    "text": "yesterday", "blob": b"\xff\x00", "number": 7, "controls": "\x1b[31m", "NULL": None,
}  # fmt: skip
COLUMNS = [
    "conversations.title", "conversations.system", "conversations.head", "conversations.draft",
    "conversations.updated", "conversations.staged", "conversations.written", "messages.parent",
    "messages.role", "messages.text", "messages.state", "messages.created", "attachments.sha256",
    "attachments.kind", "attachments.name", "attachments.size", "attachments.detail",
    "attachments.transcript",
]  # fmt: skip


@pytest.mark.parametrize("column", COLUMNS)
def test_an_impossible_value_costs_no_more_than_its_row(tmp_path, column):
    history = History(tmp_path)
    other = saved(history, "an owl", "It is one.")
    touched = saved(history, "a fox", "Yes.", "a fox", "Yes.")
    said = touched.say("a fox", (picture(history, transcript="a fox"),))
    history.save(touched, said)
    table, name = column.split(".")
    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as database, database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '')")
    where = {
        "conversations": "id = ?",
        "messages": "number = (SELECT max(number) - 1 FROM messages WHERE conversation = ?)",
        "attachments": "message IN (SELECT number FROM messages WHERE conversation = ?)",
    }[table]
    for value in ODD_VALUES.values():
        alter(history, f"UPDATE {table} SET {name} = ? WHERE {where}", value, touched.id)
        again = History(tmp_path)
        assert {found.id for found in again.newest()} == {touched.id, other.id}
        assert [found.id for found in again.search("owl")] == [other.id]
        assert touched.id in [found.id for found in again.search("fox")]
        assert len(again.conversation(other.id).thread) == 2
        loaded = again.conversation(touched.id)
        assert len(loaded) == 5 and len(to_json(loaded)) and len(to_markdown(loaded))
        again.draft(touched.id)
        again.recent_prompts()
        assert again.latest() in (touched.id, other.id)
        for file in loaded.thread[-1].attachments:
            with suppress(InputError):
                again.file(file)
        again.close()


def test_parents_that_are_missing_or_make_a_circle_leave_every_message_in_reach(history):
    conversation = saved(history, "one", "two", "three", "four")
    first, second, third, fourth = (message.id for message in conversation)
    alter(history, "UPDATE messages SET parent = ? WHERE id = ?", fourth, second)
    alter(history, "UPDATE messages SET parent = 'nobody' WHERE id = ?", third)
    alter(history, "UPDATE messages SET parent = id WHERE id = ?", fourth)
    alter(history, "UPDATE conversations SET head = 'nobody'")
    again = history.conversation(conversation.id)
    assert [message.id for message in again.thread] == [first, second, third, fourth]
    again.show_branch(first)
    assert again.head == fourth


def test_bytes_that_are_no_utf_8_are_replaced(history):
    conversation = saved(history, "caf?")
    for statement in (
        "UPDATE messages SET text = CAST(x'636166ff' AS TEXT)",
        "UPDATE conversations SET title = CAST(x'636166ff' AS TEXT)",
    ):
        alter(history, statement)
    assert history.newest()[0].title == "caf\N{REPLACEMENT CHARACTER}"
    assert history.conversation(conversation.id).thread[0].text == "caf\N{REPLACEMENT CHARACTER}"
    assert history.recent_prompts() == ["caf\N{REPLACEMENT CHARACTER}"]


def test_a_chat_in_use_may_be_renamed_and_deleted_elsewhere(history):
    conversation = saved(history, "one")
    other = History(history.folder)
    other.rename(conversation.id, "mine")
    other.delete(conversation.id)
    assert history.newest() == []
    history.save(conversation, conversation.say("more"))
    assert [(s.title, s.messages) for s in other.newest()] == [("mine", 2)]


def test_two_instances_write_to_one_store(history):
    other = History(history.folder)
    mine, theirs = saved(history, "mine"), saved(other, "theirs")
    history.save(mine, mine.say("again"))
    assert {s.title for s in other.newest()} == {"mine", "theirs"}
    assert len(history.conversation(theirs.id)) == 1


def test_new_stores_that_open_at_once_are_both_whole(tmp_path):
    code = "import sys; from pathlib import Path; from mmtui.chat.history.history import History;" \
        "sys.stdin.readline(); History(Path(sys.argv[1])).newest()"  # fmt: skip
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in started:
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.close()
    assert [process.wait(60) for process in started] == [0] * 4


def test_nothing_that_was_saved_is_lost_by_a_kill(tmp_path):
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
    told = 19 + len(process.stdout.read().splitlines())
    process.wait()
    (summary,) = History(tmp_path).newest()
    assert summary.messages >= told + 1


def test_a_full_disk_is_reported_and_what_was_there_is_whole(history):
    conversation = saved(history, "one")
    ((pages,),) = history._database.read("PRAGMA page_count")
    history._database.read(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(HistoryError, match="can't be used") as caught:
        history.save(conversation, conversation.say("x" * 100_000))
    assert (caught.value.reason, caught.value.hint) == ("disk full", "free some disk space")
    assert [m.text for m in History(history.folder).conversation(conversation.id)] == ["one"]
