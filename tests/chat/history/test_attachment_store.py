"""Attachments are stored once, and removed when nothing refers to them."""

import os

import pytest
from history_data import save_conversation, store_picture

from mmtui.chat.history.history import History
from mmtui.errors import InputError


def test_attachments_are_copied_into_the_store_once(history, tmp_path):
    conversation = save_conversation(history, "Hi")
    message = conversation.say("Look", (store_picture(history), store_picture(history)))
    history.save(conversation, message)
    files = [f for f in (history.folder / "attachments").rglob("*") if f.is_file()]
    assert [f.read_bytes() for f in files] == [b"pixels"]
    (attachment, _) = history.conversation(conversation.id).thread[-1].attachments
    assert history.file(attachment).read_bytes() == b"pixels"
    assert history.newest()[0].pictures == (attachment.sha256, attachment.sha256)
    files[0].unlink()
    with pytest.raises(InputError, match=r"a cat.jpg is no longer"):
        history.file(attachment)


def test_attachments_that_are_not_sent_yet_are_not_purged(history):
    other = History(history.folder)
    staged = store_picture(other)
    history.purge(older_than_s=60)
    assert history.file(staged).exists()
    os.utime(history.file(staged), (0, 0))
    store_picture(other)  # adding the same bytes again renews their age
    history.purge(older_than_s=60)
    assert history.file(staged).exists()
    history.purge()
    with pytest.raises(InputError):
        history.file(staged)
