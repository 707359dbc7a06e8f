"""Nothing that was said is lost while the history can't be written, and all of it comes back."""

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from threading import Event

import pytest
from fakes import FakeModel
from kill_chat import Chat as Terminal
from textual.messages import ExitApp
from textual.pilot import Pilot

from mmtui.chat import attachments
from mmtui.chat.config import Config
from mmtui.chat.conversation import Conversation, Draft
from mmtui.chat.export import get_copy_text
from mmtui.chat.history import database
from mmtui.chat.history.failover import MemoryHistory
from mmtui.chat.history.history import History
from mmtui.chat.history.store import Store
from mmtui.chat.session import Session
from mmtui.errors import MmtuiError
from mmtui.frontends.tui.app import ChatApp
from mmtui.frontends.tui.screens.dialogs import TextDialog
from mmtui.frontends.tui.screens.history import HistoryScreen
from mmtui.frontends.tui.widgets.status_bar import StatusBar


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nobody is waited for, and temporary folders go with the test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("temporary")))
    for name in ("CHAT_BUSY_TIMEOUT_S", "RETRY_S", "BUSY_TIMEOUT_S"):
        monkeypatch.setattr(f"mmtui.chat.history.failover.{name}", 0.0)


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that can't be written; nor can temporary files."""
    file = tmp_path / "a file"
    file.touch()
    monkeypatch.setattr("tempfile.tempdir", str(file))
    return file


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """By another program, such as a backup."""
    with closing(sqlite3.connect(folder / "history.sqlite")) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


def spare_folder(chat) -> Path:
    spare = chat.session.store._history._folder
    assert spare is not None and spare.is_dir()
    return spare


def flushed(chat) -> Session:
    chat.session.store.flush().result()
    return chat.session


def test_what_was_done_while_the_history_was_locked_is_there_afterwards(chat, cat):
    session, model = chat.session, chat.model
    chat.history.set_busy_timeout(0)
    session.send("One")
    model.answer(session, "Yes.")
    with locked(chat.history.folder):
        picture = session.store_attachment(attachments.load(cat))
        session.send("Two", (picture,))
        model.answer(session, "A cat.")
        session.regenerate()
        model.answer(session, "An orange.")
        session.rename("Cats")
        session.show_next_version()
        session.start_conversation()
        session.send("Other")
        model.answer(session, "Ye", stop_reason=None)
        session.stop()
        session.save_draft(Draft("half a thou", (picture,)))
        flushed(chat)
        assert session.unsaved_reason == "locked by another program"
        assert [found.title for found in session.store.search("").result()] == ["Other", "Cats"]
        assert session.store.search("orange").result()[0].title == "Cats"
        assert len(chat.posted) == 1 and "another program" in chat.posted[0].hint
        assert f"kept in {spare_folder(chat)}" in chat.notices[0]
        assert [found.messages for found in History(chat.history.folder).newest()] == [2]
    session.send("More")
    other = session.conversation.id
    assert flushed(chat).unsaved_reason == ""
    assert chat.notices[1:] == ["everything is in the history again"]
    kept = chat.history
    assert [(found.title, found.messages) for found in kept.newest()] == [("Other", 4), ("Cats", 5)]
    cats = kept.conversation(kept.newest()[1].id)
    assert [message.text for message in cats.thread] == ["One", "Yes.", "Two", "A cat."]
    assert kept.file(cats.thread[2].attachments[0]).read_bytes() == cat.read_bytes()
    assert kept.draft(other).text == "half a thou" and kept.draft(other).attachments
    session.close()


def test_a_disk_that_was_full_for_a_while_costs_nothing(chat):
    session, folder = chat.session, chat.history.folder
    session.send("One")
    chat.model.answer(session, "Yes.")
    connection = chat.history._database._connection
    ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(5):
        session.send(f"{number} {'x' * 20_000}")
        chat.model.answer(session, "Long.")
    assert (
        flushed(chat).unsaved_reason == "disk full"
        and chat.posted[0].hint == "free some disk space"
    )
    connection.execute("PRAGMA max_page_count = 1000000")
    assert session.close() is None
    assert [found.messages for found in History(folder).newest()] == [12]


def test_what_comes_back_at_the_end_only_is_whole(chat):
    chat.history.set_busy_timeout(0)
    with locked(chat.history.folder):
        chat.session.send("One")
        chat.model.answer(chat.session, "Yes.")
        temporary = spare_folder(chat) if flushed(chat) else None
    folder = chat._history.folder
    assert chat.session.close() is None and not temporary.exists()
    assert [found.messages for found in History(folder).newest()] == [2]


def test_what_can_t_be_written_until_the_end_stays_where_it_is_and_that_is_reported(chat, cat):
    session = chat.session
    session.send("Before")
    chat.model.answer(session, "Yes.")
    chat.history.set_busy_timeout(0)
    with locked(chat.history.folder):
        session.send("Look", (session.store_attachment(attachments.load(cat)),))
        chat.model.answer(session, "A cat.")
        session.save_draft(Draft("and"))
        left = session.close()
    assert left is not None and "locked by another program" in left.text
    root = Path(left.hint.split("=")[1].split()[0])
    assert str(root) in left.text and left.hint.endswith("mmtui --resume continues it")
    kept = History(root / "mmtui")
    conversation = kept.conversation(kept.latest())
    texts = [message.text for message in conversation.thread]
    assert texts == ["Before", "Yes.", "Look", "A cat."] and kept.draft(conversation.id).text
    file = kept.file(conversation.thread[2].attachments[0])
    assert file.read_bytes() == cat.read_bytes()


def test_a_read_only_folder_is_read_and_written_again_when_it_can_be(chat, monkeypatch):
    earlier, folder = Conversation(), chat.history.folder
    chat.history.save(earlier, earlier.say("Earlier"))
    monkeypatch.setattr(database, "_is_writable", lambda asked: asked != folder)
    session = Session.open(chat.model, folder, Config(), chat.posted.append)
    assert "is read-only; for now, this chat is kept in" in chat.notices[0]
    assert session.store.recent_prompts().result() == ["Earlier"]
    assert session.unsaved_reason == "read-only folder"
    session.resume(earlier.id)
    session.send("More")
    chat.model.answer(session, "Yes.")
    assert session.store.search("earl").result()[0].messages == 3
    with pytest.raises(MmtuiError, match="read-only"):
        session.store.change("other", lambda history: history.delete("other")).result()
    monkeypatch.undo()
    assert session.close() is None
    assert len(History(folder).conversation(earlier.id)) == 3


def test_a_chat_in_which_nothing_was_said_leaves_nothing_behind(chat, monkeypatch):
    chat.history.close()
    folder = chat._history.folder
    monkeypatch.setattr(database, "_is_writable", lambda asked: asked != folder)
    session = Session.open(chat.model, folder, Config(), chat.posted.append)
    temporary = session.store._history._folder
    assert session.close() is None and not temporary.exists()


def test_without_any_place_the_chat_goes_on_in_memory(chat, cat, nowhere):
    session = Session.open(chat.model, nowhere, Config(), chat.posted.append)
    session.send("Tell me about volcanoes")
    chat.model.answer(session, "Hot.")
    first = session.conversation.id
    session.start_conversation()
    session.send("Other")
    chat.model.answer(session, "Yes.")
    session.rename("Mine")
    assert [found.id for found in session.store.search("volc").result()] == [first]
    assert session.store.search("").result()[0].title == "Mine"
    session.resume(first)
    assert [message.text for message in session.conversation] == ["Tell me about volcanoes", "Hot."]
    with pytest.raises(MmtuiError, match="no space for an attachment"):
        session.store_attachment(attachments.load(cat))
    assert len(chat.notices) == 1 and "kept only in memory" in chat.notices[0]
    assert "could not be saved" in session.close().text


def test_a_temporary_folder_that_is_full_is_left_for_memory(chat, monkeypatch):
    session, folder = chat.session, chat.history.folder
    session.send("One")
    chat.model.answer(session, "Yes.")
    chat.history.set_busy_timeout(0)
    opened = History.__init__

    def nearly_full(history: History, folder: Path, **named: object) -> None:
        opened(history, folder, **named)
        if not isinstance(history, MemoryHistory):
            history._database.read("PRAGMA max_page_count = 1")  # no page more

    monkeypatch.setattr(History, "__init__", nearly_full)
    with locked(chat.history.folder):
        session.send("x" * 100_000)
        chat.model.answer(session, "Long.")
        assert session.store.search("xxx").result()[0].messages == 4
    monkeypatch.undo()
    assert session.close() is None
    assert [found.messages for found in History(folder).newest()] == [4]


def test_writes_are_copies_of_what_was_said_then(chat):
    """The chat goes on while a slow disk is at an earlier state."""
    slow = Event()
    chat.session.store._thread.submit(slow.wait)
    chat.session.send("One")
    chat.model.answer(chat.session, "Y", stop_reason=None)
    chat.session._save(chat.session.reply)
    chat.session.reply.text += "es."
    slow.set()
    kept = chat.history.conversation(chat.session.conversation.id)
    assert [message.text for message in kept] == ["One", "Y"]


def test_an_error_that_is_not_the_disk_s_is_reported(chat):
    def broken(_: History) -> None:
        raise ZeroDivisionError

    chat.session.store._write(chat.session.conversation.snapshot(), broken)
    chat.session.send("One")
    flushed(chat)
    assert "ZeroDivisionError" in chat.notices[0] and len(chat.posted) == 1
    assert chat.history.recent_prompts() == ["One"]


# On a screen


@asynccontextmanager
async def on_screen(folder: Path) -> AsyncIterator[tuple[ChatApp, Pilot]]:
    app = ChatApp(Config(), folder=folder, model=FakeModel())
    async with app.run_test(notifications=True) as pilot:
        await pilot.pause()
        yield app, pilot


def told(app: ChatApp) -> list[str]:
    return [notification.message for notification in app._notifications]


def status(app: ChatApp) -> str:
    return str(app.screen.query_one(StatusBar).render())


async def until(pilot: Pilot, holds: Callable[[], bool]) -> None:
    while not holds():
        await pilot.pause()


def test_without_any_place_the_screen_opens_and_tells_it_once(nowhere):
    async def chat():
        async with on_screen(nowhere) as (app, pilot):
            await pilot.press("H", "i", "enter")
            assert [message.text for message in app.session.conversation] == ["Hi", ""]
            assert len(told(app)) == 1 and "kept only in memory" in told(app)[0]
            await app.run_action("quit")

    asyncio.run(chat())


def test_the_status_shows_what_is_not_saved_until_it_is(tmp_path):
    async def chat():
        async with on_screen(tmp_path) as (app, pilot):
            with locked(tmp_path):
                await pilot.press("H", "i", "enter")
                await until(pilot, lambda: "not saved: locked by another program" in status(app))
            app.session.store.retry()
            await until(pilot, lambda: "not saved" not in status(app))
            assert "everything is in the history again" in told(app)[-1]

    asyncio.run(chat())


def test_the_screen_goes_on_while_a_write_hangs(tmp_path):
    """Echo, stream, the list of chats and its search: none of them waits for the disk."""
    from mmtui.chat.protocol import Piece

    hanging = Event()

    async def chat():
        async with on_screen(tmp_path) as (app, pilot):
            app.session.store._thread.submit(hanging.wait)
            await pilot.press("H", "i", "enter")
            app._receive_event(Piece(app.session._model.reply_request, "Hello."))
            await until(pilot, lambda: app.session.conversation.thread[-1].text == "Hello.")
            await pilot.press("y", "o", "u")
            await until(pilot, lambda: app.screen.composer.text == "you")
            await pilot.press("f3")
            await until(pilot, lambda: isinstance(app.screen, HistoryScreen))
            await pilot.press("h", "i")
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(app.screen, HistoryScreen))
            hanging.set()
            await app.run_action("quit")

    try:
        asyncio.run(chat())
    finally:
        hanging.set()
    history = History(tmp_path)
    (found,) = history.newest()
    assert history.draft(found.id).text == "you"
    assert [message.text for message in history.conversation(found.id)] == ["Hi", "Hello."]


def test_a_chat_that_is_renamed_in_the_list_has_its_title_everywhere(tmp_path):
    async def chat():
        async with on_screen(tmp_path / "store") as (app, pilot):
            await pilot.press("H", "i", "enter", "f3")
            await until(pilot, lambda: isinstance(app.screen, HistoryScreen))
            await pilot.press("down", "f2")
            await until(pilot, lambda: isinstance(app.screen, TextDialog))
            await pilot.press("!", "enter")
            await until(pilot, lambda: isinstance(app.screen, HistoryScreen))
            conversation = app.session.conversation
            await until(pilot, lambda: conversation.title == "Hi!")
            found, _ = app.session.store.find(conversation.id).result()
            assert found.title == "Hi!"
            assert get_copy_text(app.session.conversation, "all").startswith("# Hi!\n")

    asyncio.run(chat())


def test_a_history_that_could_not_be_opened_is_opened_later(tmp_path):
    (tmp_path / "store").touch()
    notices = []
    store = Store(None, notices.append, lambda: History(tmp_path / "store"))
    conversation = Conversation()
    said = conversation.say("One")
    store.save(conversation, said)
    store.flush().result()
    assert "the folder can't be written" in store.failure.reason
    (tmp_path / "store").unlink()
    assert store.close() is None
    assert History(tmp_path / "store").newest()[0].title == "One"


def test_a_browser_that_leaves_ends_the_chat_with_all_that_was_typed(tmp_path):
    async def chat():
        async with on_screen(tmp_path) as (app, pilot):
            await pilot.press("h", "a", "l", "f")
            app.post_message(ExitApp())  # as Textual's driver for browsers does

    asyncio.run(chat())
    history = History(tmp_path)
    assert history.draft(history.latest()).text == "half"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there are no terminals to hang up")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_chat_with_all_that_was_typed(tmp_path, number):
    """Not only what the last half second left to the timer."""
    with Terminal(tmp_path) as chat:
        assert chat.shows("Ask something", 60)
        chat.types("half a thought")
        assert chat.shows("half a thought", 60)
        assert chat.end(number) == 128 + number
    history = History(tmp_path / "mmtui")
    assert history.draft(history.latest()).text == "half a thought"


def test_a_signal_ends_the_chat_line_by_line_with_all_that_was_said(tmp_path):
    with Terminal(tmp_path, "plain") as chat:
        assert chat.shows(">", 60)
        chat.types("One\r")
        assert chat.shows("answer-One", 60)
        assert chat.end(signal.SIGTERM) == 128 + signal.SIGTERM
    (found,) = History(tmp_path / "mmtui").newest()
    assert found.messages == 2
