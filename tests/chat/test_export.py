"""Exports are complete and readable, and no text in them can do harm."""

import base64
import json
import re
import resource

import numpy as np
import pytest
from markdown_it import MarkdownIt

from mmtui.chat import attachments, export
from mmtui.chat.conversation import Attachment, Conversation, ReplyDetails
from mmtui.errors import InputError, MmtuiError, UsageError

HOSTILE = (
    "\x1b]52;c;aGk=\x07<script>alert(1)</script> [x](javascript:alert(1)) ![y](http://z/y.png)"
)


def make_conversation(chat, cat):
    session, model = chat.session, chat.model
    recording = session.store_clip(np.zeros(8000, np.float32), "what is it")
    session.send("What is it?", (session.store_attachment(attachments.load(cat)), recording))
    model.answer(session, "A **cat**.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    session.send(HOSTILE)
    model.answer(session, HOSTILE, stop_reason=None)
    session.stop()
    return session.conversation


# Each of these could hide the text after it, change the rest of the document, or look like a turn.
DANGEROUS = [
    "~~~python", "```js\nlet a = 1", "````md\n```", "1. do:\n   ```sh\n   ls", "> ```\n> x",
    "<!-- hidden", "<script>", "<pre>", "a <pre> b", "<textarea>", "<style>", "<![CDATA[", "<?php",
    "<details><summary>x", "a <!-- b", "<div>\n\n", "- <!--", "<a href='",
    "[x]: http://evil.example", "> [x]: <http://evil.example>", "# H", "a\n---", "---", "===",
    "hi\n\n**mmtui**\n\nI am forged", "**You**", "__mmtui__", "## You", "# **mmtui**", "- **You**",
    "> **mmtui**", "hi  \n**mmtui**\nforged", "**You:**", "&#42;*mmtui*&#42;",
    "|**You**|\n|-|\n|x|", "You\n---", "**Y&#111;u**", "*System*", "    code", "- item", "> quote",
    "|a|b|\n|-|-|\n|1|2", "\\", "`", "``", "- a\n\n  ```\n  b", "\t```", "x\u2028```\x85```",
    "$$", "> " * 40 + "```",
]  # fmt: skip


@pytest.mark.parametrize("text", DANGEROUS)
def test_no_text_can_hide_or_forge_a_turn_in_markdown(text):
    conversation = Conversation(system=text)
    for _ in range(2):
        conversation.say(text)
        answer = conversation.answer()
        answer.text, answer.state = text, "complete"
    written = export.to_markdown(conversation)
    tokens = MarkdownIt("commonmark").enable("table").parse(written, definitions := {})
    nested = [child for token in tokens for child in token.children or ()]
    assert not definitions.get("references")
    assert not [token for token in (*tokens, *nested) if token.type.startswith("html")]
    turns = ["**You**", "**mmtui**"]
    speakers = [token for token in tokens if token.content in turns]
    assert [token.content for token in speakers] == turns * 2
    assert {(token.type, token.level) for token in speakers} == {("inline", 1)}
    lines = export.printable(text).strip().split("\n")
    assert all(written.count(line.rstrip()) >= 5 for line in lines if line)  # nothing is lost


def test_harmless_markdown_is_not_changed():
    text = "A **cat**:\n\n- soft\n\n```python\nx = 1 < 2\n```\n\nUse `<b>`, 1 < 2, [x](http://a)."
    conversation = Conversation()
    conversation.say(text)
    answer = conversation.answer()
    answer.text, answer.state = text, "complete"
    written = export.to_markdown(conversation)
    assert f"**mmtui**\n\n{text}\n" in written
    assert "**You**\n\n> A **cat**:\n>\n> - soft" in written
    answer.text = "Here:\n\n```python\nx = 1"  # the reply was stopped here
    assert export.to_markdown(conversation).endswith("Here:\n\n```python\nx = 1\n```\n")


def test_markdown_in_titles_and_file_names_is_escaped():
    conversation = Conversation(title="<pre> ``` **You** [x](http://a)\n# C#")
    name = "<!-- **mmtui**\n> ```.png"
    conversation.say("hi", (Attachment("0" * 64, "image", name, 1, "1 x 1", "<pre>\n\n**You**"),))
    page = MarkdownIt("commonmark").render(export.to_markdown(conversation))
    title, caption = (
        "&lt;pre&gt; ``` **You** [x](http://a)\\n# C#",
        "&lt;!-- **mmtui**\\n&gt; ```.png",
    )
    assert f"<h1>{title}</h1>" in page and f"<p>{caption} (image, 1 x 1)" in page
    assert page.count("<strong>") == 1


@pytest.mark.parametrize("format", ["markdown", "html"])
def test_no_field_of_a_manipulated_history_has_control_characters(chat, format):
    evil = "a\x1b]0;b\x07\x9b2J\u202e"
    conversation = Conversation(title=evil, system=evil)
    conversation.say(evil, (Attachment("0" * 64, evil, evil, 1, evil, evil),))
    conversation.answer().text = evil
    written = export.to_text(conversation, format, chat.session.file)
    assert not set(written) & set("\x1b\x07\x9b\u202e")


def test_an_export_of_one_branch_mentions_the_others(chat, cat):
    conversation = make_conversation(chat, cat)
    assert "left out" not in export.to_markdown(conversation)
    chat.session.edit(conversation.thread[0].id, "Again")
    note = "4 messages of other versions are left out; a .json export has everything"
    assert export.to_markdown(conversation).endswith(f"*({note})*\n")
    assert note in export.to_html(conversation, chat.session.file)


def test_markdown_has_speakers_attachments_and_texts(chat, cat):
    text = export.to_markdown(make_conversation(chat, cat))
    assert text.startswith("# What is it?\n")
    assert "> a cat.png (image, 40 x 30)\n" in text
    assert '> voice.wav (audio, 0.5 s): "what is it"' in text
    assert "**mmtui**\n\nA **cat**." in text and "*(stopped here)*" in text
    assert "\x1b" not in text and "\x07" not in text


def test_an_html_page_includes_pictures_and_recordings_and_runs_no_script(chat, cat, tmp_path):
    session = chat.session
    file = tmp_path / "talk.html"
    export.write_export(make_conversation(chat, cat), file, session.file)
    page = file.read_text("utf-8")
    assert "<strong>cat</strong>" in page and "<td>1</td>" in page
    (picture,) = re.findall(r'<img alt="" src="data:image/jpeg;base64,([^"]+)"', page)
    assert base64.b64decode(picture)[:2] == b"\xff\xd8"
    (sound,) = re.findall(r'<audio controls src="data:audio/wav;base64,([^"]+)"', page)
    assert base64.b64decode(sound)[:4] == b"RIFF"
    assert "<script" not in page and "http://z" not in re.sub(r"!\[y\]|<a [^>]*>", "", page)
    assert 'href="javascript' not in page and "\x1b" not in page
    assert "default-src 'none'" in page


def test_an_html_page_mentions_missing_files(chat, cat):
    conversation = make_conversation(chat, cat)
    for file in (chat.history.folder / "attachments").rglob("*"):
        if file.is_file():
            file.unlink()
    page = export.to_html(conversation, chat.session.file)
    assert page.count("is no longer among the stored attachments") == 2


def test_json_has_all_branches_and_the_exact_texts(chat, cat):
    conversation = make_conversation(chat, cat)
    chat.session.edit(conversation.thread[0].id, "Again")
    document = json.loads(export.to_json(conversation))
    assert [m["text"] for m in document["messages"]][3] == HOSTILE
    assert len(document["messages"]) == 6
    assert document["messages"][0]["attachments"][0]["name"] == "a cat.png"


def test_json_has_the_details_that_are_known(chat, cat):
    conversation = make_conversation(chat, cat)
    conversation.thread[1].details = ReplyDetails("smol", tokens=12)
    question, answer, *_ = json.loads(export.to_json(conversation))["messages"]
    assert answer["details"] == {"model": "smol", "tokens": 12} and "details" not in question


def test_another_suffix_is_refused(chat, cat, tmp_path):
    with pytest.raises(UsageError, match="must end in"):
        export.write_export(make_conversation(chat, cat), tmp_path / "talk.txt", chat.session.file)


def test_an_existing_file_is_overwritten_only_with_force(chat, cat, tmp_path):
    conversation, file = make_conversation(chat, cat), tmp_path / "talk.md"
    file.write_text("mine")
    with pytest.raises(UsageError, match=r"talk.md exists") as raised:
        export.write_export(conversation, file, chat.session.file)
    assert raised.value.hint == "choose another name" and file.read_text() == "mine"
    export.write_export(conversation, file, chat.session.file, force=True)
    assert file.read_text("utf-8") == export.to_markdown(conversation)


def test_a_link_is_not_replaced_even_with_force(chat, cat, tmp_path):
    conversation, link = make_conversation(chat, cat), tmp_path / "link.md"
    link.symlink_to(tmp_path / "other")
    with pytest.raises(InputError, match="is a symbolic link"):
        export.write_export(conversation, link, chat.session.file, force=True)
    assert link.is_symlink() and not (tmp_path / "other").exists()


def test_a_failed_export_leaves_no_file(chat, cat, tmp_path):
    conversation, file = make_conversation(chat, cat), tmp_path / "talk.html"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(MmtuiError, match="can't be written"):
            export.write_export(conversation, file, chat.session.file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not file.exists()
    export.write_export(conversation, file, chat.session.file)
