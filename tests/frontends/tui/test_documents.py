"""Documents in the chat: chips, pages, and what is too long for the context."""

import pytest
from documents import write_pdf
from user import get_staged_names, open_chat, run_async

from mmtui.frontends.tui.screens.dialogs import ChoiceDialog, TextDialog
from mmtui.frontends.tui.screens.document import DocumentScreen
from mmtui.frontends.tui.screens.picker import Picker
from mmtui.frontends.tui.widgets.chips import Chip


@pytest.fixture
def book(tmp_path):
    pages = [f"Chapter {number}\n" + "A quiet green garden.\n" * 40 for number in range(1, 10)]
    return write_pdf(tmp_path / "book.pdf", [*pages, "The vault code is 7412."])


async def wait_until(user, is_true):
    """Let the app work until a condition holds; the test's timeout limits it."""
    while not is_true():
        await user.settle()


@run_async
async def test_a_document_is_attached_shown_and_sent(store, tmp_path):
    notes = tmp_path / "notes.md"
    notes.write_text("# Plans\nThe trip starts on Friday.\n")
    async with open_chat(store) as user:
        await user.load_model()
        await user.paste(str(notes))
        assert get_staged_names(user) == ["notes.md"]
        assert "¶ notes.md" in user.screen and "tokens" in user.screen
        user.chat.query_one(Chip).focus()
        await user.press("enter")
        assert isinstance(user.app.screen, DocumentScreen) and "The trip starts" in user.screen
        await user.press("escape")
        user.composer.focus()
        user.composer.replace_all("When?")
        await user.press("enter")
        await wait_until(user, lambda: user.model.asked)
        (turn,) = user.model.asked[-1]
        assert turn.text.startswith('<document name="notes.md">\n# Plans')
        assert turn.text.endswith("</document>\n\nWhen?")
        await wait_until(user, lambda: user.texts)
        assert user.texts[0] == "When?" and get_staged_names(user) == []


@run_async
async def test_a_dialog_asks_what_to_use_of_a_document_that_is_too_long(store, book):
    async with open_chat(store, max_tokens=100) as user:
        await user.load_model()
        await user.type(f"/file {book}", "enter")
        user.composer.replace_all("Which code has the vault?")
        await user.press("enter")
        await wait_until(user, lambda: isinstance(user.app.screen, ChoiceDialog))
        assert "Too long" in user.screen and not user.model.asked
        await user.press("escape")
        await wait_until(user, lambda: user.composer.text == "Which code has the vault?")
        assert get_staged_names(user) == ["book.pdf"] and not user.model.asked
        await user.press("enter")
        await wait_until(user, lambda: isinstance(user.app.screen, ChoiceDialog))
        await user.press("enter")
        await wait_until(user, lambda: user.model.asked)
        assert "7412" in user.model.asked[-1][-1].text
        await wait_until(user, lambda: user.notices)
        assert "the parts that match the question are used (page 10 of 10)" in user.notices[-1]


@run_async
async def test_pages_are_chosen_in_the_dialog(store, book):
    async with open_chat(store, max_tokens=100) as user:
        await user.load_model()
        await user.type(f"/file {book}", "enter")
        user.composer.replace_all("What?")
        await user.press("enter")
        await wait_until(user, lambda: isinstance(user.app.screen, ChoiceDialog))
        await user.press("down", "down", "enter")
        await wait_until(user, lambda: isinstance(user.app.screen, TextDialog))
        await user.type("2-3", "enter")
        await wait_until(user, lambda: user.model.asked)
        text = user.model.asked[-1][-1].text
        assert "[page 2]" in text and "[page 3]" in text and "Chapter 1\n" not in text


@run_async
async def test_pages_are_chosen_after_the_name_and_attached_as_pictures(store, book):
    async with open_chat(store) as user:
        await user.load_model()
        await user.type(f"/file {book}#2-3", "enter")
        assert "2 of 10 pages" in user.screen
        await user.type("/drop", "enter")
        await user.type(f"/image {book}#4", "enter")
        assert get_staged_names(user) == ["book.pdf#4"] and "1275 x 1651" in user.screen


@run_async
async def test_a_file_after_an_at_sign_is_attached(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.txt").write_text("The trip starts on Friday.")
    async with open_chat(store) as user:
        await user.load_model()
        await user.type("When does it start, see @pl", "tab")
        assert user.composer.text == "When does it start, see @plan.txt "
        await user.type("?", "enter")
        await wait_until(user, lambda: user.model.asked)
        assert user.model.asked[-1][-1].text.startswith('<document name="plan.txt">')


@run_async
async def test_wrong_documents_are_notices_and_a_dialog_chooses_files(store, tmp_path):
    (tmp_path / "cut.pdf").write_bytes(b"%PDF-1.7 nonsense")
    async with open_chat(store) as user:
        await user.type(f"/file {tmp_path / 'cut.pdf'}", "enter")
        assert "damaged or cut off" in user.notices[-1]
        assert user.composer.text == f"/file {tmp_path / 'cut.pdf'}"
        user.composer.replace_all("/file")
        await user.press("enter")
        assert isinstance(user.app.screen, Picker) and "Attach a document" in user.screen
