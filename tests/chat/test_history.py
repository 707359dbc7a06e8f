"""The store: what was written is found again, whatever happened meanwhile."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmtui.chat.conversation import Attachment, Conversation, Draft
from mmtui.chat.history import UNSENT_S, History
from mmtui.chat.schema import MIGRATIONS
from mmtui.errors import InputError, MmtuiError


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
    return Attachment(history.keep(data), "image", "a cat.jpg", len(data), "9 x 9", transcript)


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


def test_search_finds_words_and_their_beginnings_in_texts_and_transcripts(history):
    saved(history, "Tell me about volcanoes", "They are hot.")
    spoken = Conversation()
    heard = picture(history, transcript="where is the railway station")
    history.save(spoken, spoken.say("", (heard,)))
    assert [s.title for s in history.search("volc hot")] == []  # not in one message
    assert "volcanoes" in history.search("VOLC about")[0].snippet
    assert history.search("station")[0].id == spoken.id
    assert history.search('"; DROP TABLE (* NEAR') == []
    assert history.search("\udcff") == []
    assert len(history.search("  ")) == 2


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
    history._database.execute(
        "UPDATE conversations SET deleted = deleted - 90000 WHERE id = ?", (gone,)
    )
    History(history.folder).close()
    history.restore(back)
    with pytest.raises(InputError, match="no deleted conversation"):
        history.restore(gone)


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
    assert history.said() == ["one", "two", "three"] and history.said(2) == ["two", "three"]


def test_drafts_are_kept_beside_the_messages(history):
    conversation = saved(history, "one")
    history.save_draft(conversation, Draft("half a thou"))
    assert History(history.folder).draft(conversation.id) == Draft("half a thou")
    assert history.draft("none") == Draft()
    unsent, dear = Conversation(), Draft("Dear", (Attachment("a" * 64, "audio", "\udc80", 9),))
    history.save_draft(unsent, dear)
    assert history.latest() == unsent.id and history.draft(unsent.id).text == "Dear"
    assert [s.id for s in history.newest()] == [conversation.id]
    assert History(history.folder).take_draft(Conversation()) == Draft()  # it is still being typed
    history.save_draft(unsent, Draft("", dear.attachments))
    assert history.latest() == unsent.id
    history.save_draft(unsent, Draft())
    assert history.latest() == conversation.id


def test_a_draft_of_a_chat_without_words_is_kept_for_a_month(history):
    unsent, sha256 = Conversation(), history.keep(b"a picture")
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
        history._database.execute("UPDATE conversations SET staged = ?", (damaged,))
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


@pytest.mark.parametrize("damage", ["a folder that is a file", "no database", "truncated"])
def test_a_store_that_can_t_be_used_is_told(tmp_path, damage):
    folder = tmp_path / "store"
    if damage == "a folder that is a file":
        folder.touch()
    elif damage == "no database":
        folder.mkdir()
        (folder / "history.sqlite").write_bytes(b"this is not SQLite" * 300)
    else:
        saved(History(folder), "one")
        (folder / "history.sqlite-wal").unlink(missing_ok=True)
        data = (folder / "history.sqlite").read_bytes()
        (folder / "history.sqlite").write_bytes(data[:5000])
    with pytest.raises(MmtuiError, match="can't be used"):
        History(folder).search("one")


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
    code = "import sys; from pathlib import Path; from mmtui.chat.history import History;" \
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
        from mmtui.chat.history import History
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


def test_a_full_disk_is_told_and_what_was_there_is_whole(history):
    conversation = saved(history, "one")
    ((pages,),) = history._database.execute("PRAGMA page_count").fetchall()
    history._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(MmtuiError, match="can't be used"):
        history.save(conversation, conversation.say("x" * 100_000))
    assert [m.text for m in History(history.folder).conversation(conversation.id)] == ["one"]


def test_search_over_ten_thousand_messages_takes_less_than_50_ms(history, tmp_path):
    words = ["river", "mountain", "cat", "window", "blue", "paper", "train", "coffee"]
    history._database.execute("PRAGMA synchronous = OFF")
    for number in range(500):
        conversation = Conversation()
        for at in range(20):
            said = conversation.say(f"{words[(number + at) % 8]} {words[at % 8]} number{number}")
            history.save(conversation, said)
    times = []
    for query in ("coffee", "number77", "riv mount", "nothing"):
        began = time.perf_counter()
        history.search(query)
        times.append(time.perf_counter() - began)
    print([f"{1000 * seconds:.0f} ms" for seconds in times])
    assert max(times) < 0.05
    shutil.rmtree(history.folder)
