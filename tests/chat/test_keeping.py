"""A chat goes on wherever it can be kept: in its history, a temporary folder, or memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fakes import FakeModel
from textual.pilot import Pilot

from mmtui.chat import attachments
from mmtui.chat.config import Config
from mmtui.chat.history import History
from mmtui.chat.session import Session
from mmtui.errors import MmtuiError
from mmtui.tui.app import ChatApp
from mmtui.tui.screens.dialogs import TextDialog
from mmtui.tui.screens.history import HistoryScreen


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that can't be written; nor can temporary files."""
    file = tmp_path / "a file"
    file.touch()
    monkeypatch.setattr("tempfile.tempdir", str(file))
    return file


@asynccontextmanager
async def on_screen(folder: Path) -> AsyncIterator[tuple[ChatApp, Pilot]]:
    app = ChatApp(Config(), folder=folder, model=FakeModel())
    async with app.run_test(notifications=True) as pilot:
        await pilot.pause()
        yield app, pilot


def told(app: ChatApp) -> list[str]:
    return [notification.message for notification in app._notifications]


def test_without_any_place_the_chat_opens_and_goes_on_in_memory(chat, cat, nowhere):
    session = Session.opened(chat.model, nowhere, Config(), chat.told.append)
    session.send("Tell me about volcanoes")
    chat.model.answer(session, "Hot.")
    first = session.conversation.id
    session.begin()
    session.send("Other")
    chat.model.answer(session, "Yes.")
    session.rename("Mine")
    assert [found.id for found in session.history.search("volc")] == [first]
    assert session.history.newest()[0].title == "Mine"
    session.resume(first)
    assert [message.text for message in session.conversation] == ["Tell me about volcanoes", "Hot."]
    with pytest.raises(MmtuiError, match="no place for an attachment"):
        session.keep(attachments.load(cat))
    session.close()
    assert len(chat.notices) == 1 and "this chat is not kept" in chat.notices[0]


def test_without_any_place_the_screen_opens_and_tells_it_once(nowhere):
    async def chat():
        async with on_screen(nowhere) as (app, pilot):
            await pilot.press("H", "i", "enter")
            assert [message.text for message in app.session.conversation] == ["Hi", ""]
            assert len(told(app)) == 1 and "this chat is not kept" in told(app)[0]
            await app.run_action("quit")

    asyncio.run(chat())


def test_a_temporary_folder_that_is_full_is_not_taken(chat, monkeypatch):
    session = chat.session
    session.send("One")
    chat.model.answer(session, "Yes.")

    def full(*_: object) -> None:
        raise MmtuiError("the disk is full", "free some space")

    monkeypatch.setattr(chat.history, "save", full)
    opened = History.__init__

    def nearly_full(history: History, folder: Path) -> None:
        opened(history, folder)
        history._database.read("PRAGMA max_page_count = 1")  # no page more

    monkeypatch.setattr(History, "__init__", nearly_full)
    session.send("x" * 100_000)
    chat.model.answer(session, "Long.")
    (kept,) = session.history.newest()
    assert kept.messages == 4 and len(chat.told) == 1
    session.close()


def test_a_chat_that_is_renamed_in_the_list_has_its_title_everywhere(tmp_path):
    async def chat():
        async with on_screen(tmp_path / "store") as (app, pilot):
            await pilot.press("H", "i", "enter", "f3")
            while not isinstance(app.screen, HistoryScreen):
                await pilot.pause()
            await pilot.press("down", "f2")
            while not isinstance(app.screen, TextDialog):
                await pilot.pause()
            await pilot.press("!", "enter")
            while not isinstance(app.screen, HistoryScreen):
                await pilot.pause()
            await app.workers.wait_for_complete()
            conversation = app.session.conversation
            assert conversation.title == "Hi!"
            assert app.session.history.conversation(conversation.id).title == "Hi!"
            assert app.session.to_copy("all").startswith("# Hi!\n")

    asyncio.run(chat())
