"""No message is lost while the history can't be written; all are written later."""

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from threading import Event

import pytest
from fakes import FakeModel
from kill_chat import TerminalChat
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
def no_waiting(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Set all timeouts to 0, and put temporary folders into the folder of the test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("temporary")))
    for name in ("CHAT_BUSY_TIMEOUT_S", "RETRY_S", "BUSY_TIMEOUT_S"):
        monkeypatch.setattr(f"mmtui.chat.history.failover.{name}", 0.0)


@pytest.fixture
def unwritable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a path that can't be written, and make temporary folders unwritable as well."""
    file = tmp_path / "a file"
    file.touch()
    monkeypatch.setattr("tempfile.tempdir", str(file))
    return file


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the database as another program does, such as a backup."""
    with closing(sqlite3.connect(folder / "history.sqlite")) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


def get_spare_folder(chat) -> Path:
    """Return the temporary folder with the messages that could not be written."""
    spare = chat.session.store._history._folder
    assert spare is not None and spare.is_dir()
    return spare


def flush(chat) -> Session:
    """Wait until all writes have been tried, and return the session."""
    chat.session.store.flush().result()
    return chat.session


def test_changes_during_a_lock_are_written_after_it(chat, cat):
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
        flush(chat)
        assert session.unsaved_reason == "locked by another program"
        assert [found.title for found in session.store.search("").result()] == ["Other", "Cats"]
        assert session.store.search("orange").result()[0].title == "Cats"
        assert len(chat.posted) == 1 and "another program" in chat.posted[0].hint
        assert f"kept in {get_spare_folder(chat)}" in chat.notices[0]
        assert [found.messages for found in History(chat.history.folder).newest()] == [2]
    session.send("More")
    other = session.conversation.id
    assert flush(chat).unsaved_reason == ""
    assert chat.notices[1:] == ["everything is in the history again"]
    history = chat.history
    assert [(found.title, found.messages) for found in history.newest()] == [
        ("Other", 4), ("Cats", 5),
    ]  # fmt: skip
    cats = history.conversation(history.newest()[1].id)
    assert [message.text for message in cats.thread] == ["One", "Yes.", "Two", "A cat."]
    assert history.file(cats.thread[2].attachments[0]).read_bytes() == cat.read_bytes()
    assert history.draft(other).text == "half a thou" and history.draft(other).attachments
    session.close()


def test_messages_during_a_full_disk_are_written_after_it(chat):
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
        flush(chat).unsaved_reason == "disk full" and chat.posted[0].hint == "free some disk space"
    )
    connection.execute("PRAGMA max_page_count = 1000000")
    assert session.close() is None
    assert [found.messages for found in History(folder).newest()] == [12]


def test_messages_are_written_when_the_session_closes(chat):
    chat.history.set_busy_timeout(0)
    with locked(chat.history.folder):
        chat.session.send("One")
        chat.model.answer(chat.session, "Yes.")
        temporary = get_spare_folder(chat) if flush(chat) else None
    folder = chat._history.folder
    assert chat.session.close() is None and not temporary.exists()
    assert [found.messages for found in History(folder).newest()] == [2]


def test_messages_that_can_not_be_written_at_the_end_stay_in_a_folder_that_is_reported(chat, cat):
    session = chat.session
    session.send("Before")
    chat.model.answer(session, "Yes.")
    chat.history.set_busy_timeout(0)
    with locked(chat.history.folder):
        session.send("Look", (session.store_attachment(attachments.load(cat)),))
        chat.model.answer(session, "A cat.")
        session.save_draft(Draft("and"))
        notice = session.close()
    assert notice is not None and "locked by another program" in notice.text
    root = Path(notice.hint.split("=")[1].split()[0])
    assert str(root) in notice.text and notice.hint.endswith("mmtui --resume continues it")
    kept = History(root / "mmtui")
    conversation = kept.conversation(kept.latest())
    texts = [message.text for message in conversation.thread]
    assert texts == ["Before", "Yes.", "Look", "A cat."] and kept.draft(conversation.id).text
    file = kept.file(conversation.thread[2].attachments[0])
    assert file.read_bytes() == cat.read_bytes()


def test_a_read_only_history_is_read_and_written_once_it_is_writable(chat, monkeypatch):
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


def test_a_chat_without_messages_leaves_no_files(chat, monkeypatch):
    chat.history.close()
    folder = chat._history.folder
    monkeypatch.setattr(database, "_is_writable", lambda asked: asked != folder)
    session = Session.open(chat.model, folder, Config(), chat.posted.append)
    temporary = session.store._history._folder
    assert session.close() is None and not temporary.exists()


def test_without_a_writable_folder_the_chat_is_kept_in_memory(chat, cat, unwritable):
    session = Session.open(chat.model, unwritable, Config(), chat.posted.append)
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


def test_a_chat_is_kept_in_memory_when_the_temporary_folder_is_full(chat, monkeypatch):
    session, folder = chat.session, chat.history.folder
    session.send("One")
    chat.model.answer(session, "Yes.")
    chat.history.set_busy_timeout(0)
    opened = History.__init__

    def nearly_full(history: History, folder: Path, **named: object) -> None:
        opened(history, folder, **named)
        if not isinstance(history, MemoryHistory):
            history._database.read("PRAGMA max_page_count = 1")  # no further page fits

    monkeypatch.setattr(History, "__init__", nearly_full)
    with locked(chat.history.folder):
        session.send("x" * 100_000)
        chat.model.answer(session, "Long.")
        assert session.store.search("xxx").result()[0].messages == 4
    monkeypatch.undo()
    assert session.close() is None
    assert [found.messages for found in History(folder).newest()] == [4]


def test_a_message_is_written_as_it_was_when_it_was_saved(chat):
    """The message changes while a slow disk has not written it yet."""
    slow = Event()
    chat.session.store._thread.submit(slow.wait)
    chat.session.send("One")
    chat.model.answer(chat.session, "Y", stop_reason=None)
    chat.session._save(chat.session.reply)
    chat.session.reply.text += "es."
    slow.set()
    kept = chat.history.conversation(chat.session.conversation.id)
    assert [message.text for message in kept] == ["One", "Y"]


def test_an_error_that_is_not_from_the_disk_is_reported(chat):
    def broken(_: History) -> None:
        raise ZeroDivisionError

    chat.session.store._write(chat.session.conversation.snapshot(), broken)
    chat.session.send("One")
    flush(chat)
    assert "ZeroDivisionError" in chat.notices[0] and len(chat.posted) == 1
    assert chat.history.recent_prompts() == ["One"]


# With the user interface


@asynccontextmanager
async def on_screen(folder: Path) -> AsyncIterator[tuple[ChatApp, Pilot]]:
    app = ChatApp(Config(), folder=folder, model=FakeModel())
    async with app.run_test(notifications=True) as pilot:
        await pilot.pause()
        yield app, pilot


def get_notifications(app: ChatApp) -> list[str]:
    return [notification.message for notification in app._notifications]


def get_status(app: ChatApp) -> str:
    return str(app.screen.query_one(StatusBar).render())


async def wait_until(pilot: Pilot, condition: Callable[[], bool]) -> None:
    while not condition():
        await pilot.pause()


def test_without_a_writable_folder_the_chat_opens_with_one_notice(unwritable):
    async def chat():
        async with on_screen(unwritable) as (app, pilot):
            await pilot.press("H", "i", "enter")
            assert [message.text for message in app.session.conversation] == ["Hi", ""]
            assert len(get_notifications(app)) == 1
            assert "kept only in memory" in get_notifications(app)[0]
            await app.run_action("quit")

    asyncio.run(chat())


def test_the_status_bar_shows_that_messages_are_not_saved_until_they_are(tmp_path):
    async def chat():
        async with on_screen(tmp_path) as (app, pilot):
            with locked(tmp_path):
                await pilot.press("H", "i", "enter")
                await wait_until(
                    pilot, lambda: "not saved: locked by another program" in get_status(app)
                )
            app.session.store.retry()
            await wait_until(pilot, lambda: "not saved" not in get_status(app))
            assert "everything is in the history again" in get_notifications(app)[-1]

    asyncio.run(chat())


def test_the_user_interface_responds_while_a_write_hangs(tmp_path):
    """Typing, streaming, the list of chats and its search do not wait for the disk."""
    from mmtui.chat.protocol import Piece

    hanging = Event()

    async def chat():
        async with on_screen(tmp_path) as (app, pilot):
            app.session.store._thread.submit(hanging.wait)
            await pilot.press("H", "i", "enter")
            app._receive_event(Piece(app.session._model.reply_request, "Hello."))
            await wait_until(pilot, lambda: app.session.conversation.thread[-1].text == "Hello.")
            await pilot.press("y", "o", "u")
            await wait_until(pilot, lambda: app.screen.composer.text == "you")
            await pilot.press("f3")
            await wait_until(pilot, lambda: isinstance(app.screen, HistoryScreen))
            await pilot.press("h", "i")
            await pilot.press("escape")
            await wait_until(pilot, lambda: not isinstance(app.screen, HistoryScreen))
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


def test_a_chat_that_is_renamed_in_the_list_has_the_new_title_everywhere(tmp_path):
    async def chat():
        async with on_screen(tmp_path / "store") as (app, pilot):
            await pilot.press("H", "i", "enter", "f3")
            await wait_until(pilot, lambda: isinstance(app.screen, HistoryScreen))
            await pilot.press("down", "f2")
            await wait_until(pilot, lambda: isinstance(app.screen, TextDialog))
            await pilot.press("!", "enter")
            await wait_until(pilot, lambda: isinstance(app.screen, HistoryScreen))
            conversation = app.session.conversation
            await wait_until(pilot, lambda: conversation.title == "Hi!")
            found, _ = app.session.store.find(conversation.id).result()
            assert found.title == "Hi!"
            assert get_copy_text(app.session.conversation, "all").startswith("# Hi!\n")

    asyncio.run(chat())


def test_a_history_that_can_not_be_opened_is_opened_when_the_store_closes(tmp_path):
    (tmp_path / "store").touch()
    notices = []
    store = Store(None, notices.append, lambda: History(tmp_path / "store"))
    conversation = Conversation()
    store.save(conversation, conversation.say("One"))
    store.flush().result()
    assert "the folder can't be written" in store.failure.reason
    (tmp_path / "store").unlink()
    assert store.close() is None
    assert History(tmp_path / "store").newest()[0].title == "One"


def test_the_draft_is_saved_when_the_browser_closes(tmp_path):
    async def chat():
        async with on_screen(tmp_path) as (app, pilot):
            await pilot.press("h", "a", "l", "f")
            app.post_message(ExitApp())  # as Textual's driver for browsers does

    asyncio.run(chat())
    history = History(tmp_path)
    assert history.draft(history.latest()).text == "half"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_draft_is_saved_when_a_signal_ends_the_chat(tmp_path, number):
    """The text that was typed after the last periodic save is included."""
    with TerminalChat(tmp_path) as chat:
        assert chat.wait_for("Ask something", 60)
        chat.type("half a thought")
        assert chat.wait_for("half a thought", 60)
        assert chat.end(number) == 128 + number
    history = History(tmp_path / "mmtui")
    assert history.draft(history.latest()).text == "half a thought"


def test_all_messages_are_saved_when_a_signal_ends_the_plain_chat(tmp_path):
    with TerminalChat(tmp_path, "plain") as chat:
        assert chat.wait_for(">", 60)
        chat.type("One\r")
        assert chat.wait_for("answer-One", 60)
        assert chat.end(signal.SIGTERM) == 128 + signal.SIGTERM
    (found,) = History(tmp_path / "mmtui").newest()
    assert found.messages == 2
