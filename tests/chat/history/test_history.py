"""The history: conversations are saved, listed, deleted and restored."""

import pytest
from history_data import execute, save_conversation, store_picture

from mmtui.chat.history.history import History
from mmtui.errors import InputError
from mmtui.pipeline import prompt_folder


def test_a_conversation_is_loaded_with_all_its_branches(history):
    conversation = save_conversation(history, "What is this?", "A cat.")
    conversation.system = "Be brief."
    edited = conversation.edit(conversation.thread[0].id, "And this?")
    edited.attachments = (store_picture(history), store_picture(history, b"other"))
    history.save(conversation, edited)
    again = History(history.folder).conversation(conversation.id[:8])
    assert [m.text for m in again] == ["What is this?", "A cat.", "And this?"]
    assert again.thread == [edited]
    assert (again.title, again.system) == ("What is this?", "Be brief.")


def test_saving_an_answer_again_replaces_its_text(history):
    conversation = save_conversation(history, "Hi")
    answer = conversation.answer()
    for text, state in (("", "writing"), ("He", "writing"), ("Hello.", "complete")):
        answer.text, answer.state = text, state
        history.save(conversation, answer)
    assert [m.text for m in history.conversation(conversation.id)] == ["Hi", "Hello."]
    assert [s.title for s in history.search("hello")] == ["Hi"]
    assert history.search("writing") == []


def test_an_answer_that_was_not_finished_at_a_crash_is_loaded_as_stopped(history):
    conversation = save_conversation(history, "Hi")
    answer = conversation.answer()
    answer.text = "Hel"
    history.save(conversation, answer)
    again = history.conversation(conversation.id).thread[-1]
    assert (again.text, again.state) == ("Hel", "stopped")


def test_the_newest_conversation_is_listed_first_and_resumed(history):
    assert history.latest() is None
    first, second = save_conversation(history, "one"), save_conversation(history, "two")
    assert [s.title for s in history.newest()] == ["two", "one"]
    history.save(first, first.answer())
    assert history.latest() == first.id != second.id
    history.rename(first.id, "uno")
    assert [s.title for s in history.newest()] == ["uno", "two"]


def test_a_deletion_can_be_undone_until_it_is_purged(history):
    conversation = save_conversation(history, "one")
    history.save(conversation, conversation.say("Look", (store_picture(history),)))
    other = save_conversation(history, "two")
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


def test_deleted_conversations_are_purged_after_a_day(history):
    purged, restored = save_conversation(history, "one").id, save_conversation(history, "two").id
    for id in (purged, restored):
        history.delete(id)
    execute(history, "UPDATE conversations SET deleted = deleted - 90000 WHERE id = ?", purged)
    History(history.folder).close()
    history.restore(restored)
    with pytest.raises(InputError, match="no deleted conversation"):
        history.restore(purged)


def test_what_a_model_has_read_of_a_conversation_is_deleted_with_it(history, cache):
    conversation = save_conversation(history, "one")
    file = prompt_folder.get_path(conversation.id)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"state")
    history.delete(conversation.id)
    assert not file.exists()


def test_an_ambiguous_id_restores_nothing(history):
    # At least two of 17 ids start with the same hexadecimal digit.
    deleted = [save_conversation(history, f"{number}").id for number in range(17)]
    for id in deleted:
        history.delete(id)
    digit = next(id[0] for id in deleted if sum(other[0] == id[0] for other in deleted) > 1)
    for prefix in (digit, ""):
        with pytest.raises(InputError, match="several deleted conversations begin"):
            history.restore(prefix)
    assert history.newest() == []


def test_recent_prompts_are_in_order_without_answers(history):
    save_conversation(history, "one", "not this", "two")
    save_conversation(history, "three")
    assert history.recent_prompts() == ["one", "two", "three"]
    assert history.recent_prompts(2) == ["two", "three"]


def test_a_conversation_is_found_only_by_the_start_of_its_id(history):
    save_conversation(history, "one")
    with pytest.raises(InputError, match="no conversation begins"):
        history.conversation("zzz")
    with pytest.raises(InputError):
        history.conversation("")
    with pytest.raises(InputError):
        history.conversation("%")
    with pytest.raises(InputError):
        history.conversation("\udcff")


def test_the_conversation_written_last_is_resumed_even_if_the_clock_was_wrong(history):
    ahead, last = save_conversation(history, "from the future"), save_conversation(history, "now")
    execute(history, "UPDATE conversations SET updated = 9e9 WHERE id = ?", ahead.id)
    execute(history, "UPDATE messages SET created = 9e9 WHERE conversation = ?", ahead.id)
    assert history.latest() == last.id
    assert [found.id for found in history.newest()] == [last.id, ahead.id]
    history.save(ahead, ahead.say("again"))
    assert history.latest() == ahead.id
    execute(history, "UPDATE conversations SET written = 'x' WHERE id = ?", ahead.id)
    history.save(last, last.say("more"))
    assert len(history.newest()) == 2


def test_an_open_chat_can_be_renamed_and_deleted_by_another_instance(history):
    conversation = save_conversation(history, "one")
    other = History(history.folder)
    other.rename(conversation.id, "mine")
    other.delete(conversation.id)
    assert history.newest() == []
    history.save(conversation, conversation.say("more"))
    assert [(s.title, s.messages) for s in other.newest()] == [("mine", 2)]
