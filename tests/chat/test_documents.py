"""Documents of a conversation: stored, fitted, sent, searched and exported."""

import json

import pytest
from documents import make_docx, write_pdf
from fakes import FakeModel

from mmtui.chat import attachments, documents
from mmtui.chat.config import Config
from mmtui.chat.documents import find_room, fit_attachments
from mmtui.chat.export import to_html, to_json, to_markdown
from mmtui.chat.history.history import History
from mmtui.chat.session import Session
from mmtui.chat.status import ModelStatus
from mmtui.errors import InputError, TooLongError, UsageError


@pytest.fixture
def session(tmp_path):
    session = Session(FakeModel(), History(tmp_path / "store"), Config(), print)
    yield session
    session.close()


@pytest.fixture
def book(tmp_path):
    pages = [f"Chapter {number}\n" + "A quiet green garden.\n" * 40 for number in range(1, 10)]
    return write_pdf(tmp_path / "book.pdf", [*pages, "The vault code is 7412."])


def attach(session, path):
    return session.store_attachment(attachments.load(path))


def test_a_document_is_kept_as_text_and_sent_in_a_frame(session, tmp_path):
    path = tmp_path / "letter.docx"
    path.write_bytes(make_docx(["Dear Anna,", "see you on Tuesday."]))
    stored = attach(session, path)
    path.unlink()
    assert (stored.kind, stored.name) == ("document", "letter.docx")
    assert session.file(stored).read_text() == "Dear Anna,\n\nsee you on Tuesday."
    fitted = fit_attachments((stored,), session.file, "When?", 1000, "error")
    session.send("When?", fitted.attachments)
    (turn,) = session._model._process.asked[-1]
    assert turn.text == (
        '<document name="letter.docx">\nDear Anna,\n\nsee you on Tuesday.\n</document>\n\nWhen?'
    )


def test_a_resumed_conversation_has_its_documents_and_is_found_by_their_words(session, book):
    stored = attach(session, book)
    book.unlink()
    fitted = fit_attachments((stored,), session.file, "Which code?", 500, "match")
    session.send("Which code?", fitted.attachments)
    session.stop()
    id = session.conversation.id
    session.start_conversation()
    session.resume(id)
    (file,) = session.conversation.thread[0].attachments
    assert "7412" in file.transcript and file.detail.startswith("10 pages, about ")
    assert [found.id for found in session.store.search("vault code").result()] == [id]
    session.regenerate()
    assert "7412" in session._model._process.asked[-1][0].text


def test_exports_have_the_text_of_documents(session, tmp_path):
    path = tmp_path / "a.md"
    path.write_text("# Title\n```\n<script>\n```\n")
    fitted = fit_attachments((attach(session, path),), session.file, "", None, "error")
    conversation = session.conversation
    conversation.say("What?", fitted.attachments)
    markdown = to_markdown(conversation)
    assert "> ````\n> # Title" in markdown and "a.md (document, about" in markdown
    page = to_html(conversation, session.file)
    assert "<details>" in page and "&lt;script&gt;" in page and "<script>" not in page
    (message,) = json.loads(to_json(conversation))["messages"]
    assert message["attachments"][0]["transcript"].startswith("# Title")


def test_a_draft_keeps_its_documents(session, book):
    from mmtui.chat.conversation import Draft

    stored = attach(session, book)
    session.save_draft(Draft("And?", (stored,)))
    session.store.flush().result()
    assert session.resume(session.conversation.id).attachments == (stored,)


def test_what_is_too_long_is_an_error_until_the_user_chooses(session, book):
    stored = attach(session, book)
    with pytest.raises(TooLongError, match=r"book\.pdf: too long for the 500 tokens"):
        fit_attachments((stored,), session.file, "Which code?", 500, "error")
    fitted = fit_attachments((stored,), session.file, "Which code?", 500, "beginning")
    assert "the beginning is used (page" in fitted.notes[0]
    assert "Chapter 1" in fitted.attachments[0].transcript
    document = documents.read_stored(stored, session.file)
    chosen = documents.choose_pages(document, "10")
    assert documents.describe_document(chosen).startswith("1 of 10 pages, about ")
    with pytest.raises(InputError, match="no page 11"):
        documents.choose_pages(document, "11")
    with pytest.raises(UsageError, match="no pages to choose from"):
        documents.choose_pages(documents.DocumentText("a.txt", ("text",)), "1")


def test_the_room_for_documents_leaves_space_for_the_answer():
    assert find_room(ModelStatus(), "", "", 0, 512) is None
    status = ModelStatus(context=4096, picture_tokens=100)
    assert find_room(status, "", "", 2, 512) == 4096 - 512 - 200 - 32
    assert find_room(ModelStatus(context=100), "", "word " * 500, 0, 512) == 0


def test_content_decides_what_a_file_is(tmp_path, cat):
    renamed = tmp_path / "photo"
    renamed.write_bytes(cat.read_bytes())
    assert attachments.load(renamed).kind == "image"
    for name, data in (("a.txt", b"BM is text"), ("b.txt", "wide text".encode("utf-16"))):
        (tmp_path / name).write_bytes(data)
        assert attachments.load(tmp_path / name).kind == "document"
    (tmp_path / "c.bin").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(InputError, match="is not text"):
        attachments.load(tmp_path / "c.bin")


def test_pages_of_a_pdf_can_be_pictures(book, cat):
    (page,) = attachments.load_pages(book.with_name("book.pdf#2"))
    assert (page.kind, page.name, page.detail) == ("image", "book.pdf#2", "1275 x 1651")
    assert attachments.load_pages(cat)[0].kind == "image"
