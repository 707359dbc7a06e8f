"""Exports: whole, readable, and inert whatever was said."""

import base64
import json
import re
import resource

import numpy as np
import pytest

from mmtui.chat import attachments, export
from mmtui.errors import MmtuiError, UsageError

NASTY = "\x1b]52;c;aGk=\x07<script>alert(1)</script> [x](javascript:alert(1)) ![y](http://z/y.png)"


def talk(chat, cat):
    session, model = chat.session, chat.model
    spoken = session.attach_clip(np.zeros(8000, np.float32), "what is it")
    session.send("What is it?", (session.keep(attachments.load(cat)), spoken))
    model.answer(session, "A **cat**.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    session.send(NASTY)
    model.answer(session, NASTY, stop_reason=None)
    session.stop()
    return session.conversation


def test_markdown_says_who_said_what_with_what(chat, cat):
    text = export.to_markdown(talk(chat, cat))
    assert text.startswith("# What is it?\n")
    assert "> a cat.png (image, 40 x 30)" in text
    assert '> voice.wav (audio, 0.5 s): "what is it"' in text
    assert "**mmtui**\n\nA **cat**." in text and "*(stopped here)*" in text
    assert "\x1b" not in text and "\x07" not in text


def test_a_page_has_its_pictures_and_sounds_inside_and_runs_nothing(chat, cat, tmp_path):
    session = chat.session
    file = tmp_path / "talk.html"
    export.write(talk(chat, cat), file, session.file)
    page = file.read_text("utf-8")
    assert "<strong>cat</strong>" in page and "<td>1</td>" in page
    (picture,) = re.findall(r'<img alt="" src="data:image/jpeg;base64,([^"]+)"', page)
    assert base64.b64decode(picture)[:2] == b"\xff\xd8"
    (sound,) = re.findall(r'<audio controls src="data:audio/wav;base64,([^"]+)"', page)
    assert base64.b64decode(sound)[:4] == b"RIFF"
    assert "<script" not in page and "http://z" not in re.sub(r"!\[y\]|<a [^>]*>", "", page)
    assert 'href="javascript' not in page and "\x1b" not in page
    assert "default-src 'none'" in page


def test_a_page_tells_of_files_that_are_gone(chat, cat):
    conversation = talk(chat, cat)
    for file in (chat.history.folder / "attachments").rglob("*"):
        if file.is_file():
            file.unlink()
    page = export.to_html(conversation, chat.session.file)
    assert page.count("is no longer among the stored attachments") == 2


def test_json_has_all_branches_exactly(chat, cat):
    conversation = talk(chat, cat)
    chat.session.edit(conversation.thread[0].id, "Again")
    document = json.loads(export.to_json(conversation))
    assert [m["text"] for m in document["messages"]][3] == NASTY
    assert len(document["messages"]) == 6
    assert document["messages"][0]["attachments"][0]["name"] == "a cat.png"


def test_the_ending_decides(chat, cat, tmp_path):
    with pytest.raises(UsageError, match="no ending"):
        export.write(talk(chat, cat), tmp_path / "talk.txt", chat.session.file)


def test_a_file_that_is_there_is_overwritten_only_by_force(chat, cat, tmp_path):
    conversation, file = talk(chat, cat), tmp_path / "talk.md"
    file.write_text("mine")
    with pytest.raises(UsageError, match=r"talk.md is there already") as refused:
        export.write(conversation, file, chat.session.file)
    assert refused.value.hint == "choose another name" and file.read_text() == "mine"
    export.write(conversation, file, chat.session.file, force=True)
    assert file.read_text("utf-8") == export.to_markdown(conversation)


def test_of_an_export_to_a_full_disk_nothing_is_left(chat, cat, tmp_path):
    conversation, file = talk(chat, cat), tmp_path / "talk.html"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(MmtuiError, match="can't be written"):
            export.write(conversation, file, chat.session.file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not file.exists()
    export.write(conversation, file, chat.session.file)
