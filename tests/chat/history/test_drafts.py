"""Drafts are stored beside the messages."""

import sqlite3

from history_data import execute, save_conversation

from mmtui.chat.conversation import Attachment, Conversation, Draft
from mmtui.chat.history.history import UNSENT_S, History
from mmtui.chat.history.schema import MIGRATIONS


def test_drafts_are_saved_with_their_attachments(history):
    conversation = save_conversation(history, "one")
    history.save_draft(conversation, Draft("half a thou"))
    assert History(history.folder).draft(conversation.id) == Draft("half a thou")
    assert history.draft("none") == Draft()
    unsent, draft = Conversation(), Draft("Dear", (Attachment("a" * 64, "audio", "\udc80", 9),))
    history.save_draft(unsent, draft)
    assert history.latest() == unsent.id and history.draft(unsent.id).text == "Dear"
    assert [s.id for s in history.newest()] == [conversation.id]
    assert History(history.folder).unsent_draft() is None  # this instance is still editing it
    history.save_draft(unsent, Draft("", draft.attachments))
    assert history.latest() == unsent.id
    history.save_draft(unsent, Draft())
    assert history.latest() == conversation.id


def test_a_draft_of_a_chat_without_messages_is_kept_for_a_month(history):
    unsent, sha256 = Conversation(), history.add_attachment(b"a picture")
    history.save_draft(unsent, Draft("", (Attachment(sha256, "image", "a.png", 9),)))
    history.purge()
    assert history.draft(unsent.id).attachments and list(history.folder.glob("attachments/??/*"))
    history.purge(-UNSENT_S - 1)  # the time one second after the limit
    assert history.draft(unsent.id) == Draft()
    assert not list(history.folder.glob("attachments/??/*"))


def test_drafts_of_the_first_version_are_read_and_damaged_ones_are_skipped(tmp_path):
    (tmp_path / "attachments").mkdir()
    with sqlite3.connect(tmp_path / "history.sqlite") as database:
        for statement in MIGRATIONS[0]:
            database.execute(statement)
        database.execute("INSERT INTO conversations VALUES ('a', 't', '', NULL, 'old', 1.0, NULL)")
        database.execute("PRAGMA user_version = 1")
    history = History(tmp_path)
    assert history.draft("a") == Draft("old")
    for damaged in ("[{", '["x"]', '[{"color": 1}]', "7"):
        execute(history, "UPDATE conversations SET staged = ?", damaged)
        assert history.draft("a") == Draft("old")
    history.purge()
