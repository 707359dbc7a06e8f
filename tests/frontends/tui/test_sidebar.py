"""The conversations at the left of the chat."""

from pathlib import Path

import pytest
from history_data import save_conversation
from PIL import Image
from textual.content import Content
from textual.style import Style
from user import open_chat, run_async

from mmtui.chat.config import get_path
from mmtui.chat.conversation import Attachment
from mmtui.chat.history.history import History
from mmtui.chat.history.store import Store
from mmtui.frontends.tui.widgets.sidebar import FIRST_PAGE, Sidebar, SidebarList
from mmtui.frontends.tui.widgets.thumbnail import Thumbnail

SIZE = (100, 30)


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file of this test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return get_path()


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The limits of the searches in the history."""
    limits: list[int] = []
    search = Store.search

    def record(store: Store, words: str, limit: int = 100):
        limits.append(limit)
        return search(store, words, limit)

    monkeypatch.setattr(Store, "search", record)
    return limits


def get_rows(user) -> list[str]:
    """Return the rows of the sidebar, the first lines of which are titles."""
    options = user.chat.query_one(SidebarList).options
    return [str(option.prompt).splitlines()[0] for option in options]


@run_async
async def test_ctrl_b_shows_and_hides_the_sidebar_and_the_settings_remember_it(store, settings):
    async with open_chat(store, size=SIZE) as user:
        assert "Conversations" not in user.screen
        await user.press("ctrl+b")
        assert "No conversations yet" in user.screen
        assert user.chat.query_one(SidebarList).has_focus
        assert "\nsidebar = true\n" in settings.read_text()
        await user.type("typed")
        assert user.composer.text == "typed"
        await user.press("ctrl+b")
        assert "Conversations" not in user.screen
        assert "\nsidebar = false\n" in settings.read_text()
        user.composer.clear()
        await user.type("/sidebar", "enter")
        assert "No conversations yet" in user.screen
    async with open_chat(store, size=SIZE, sidebar=True) as user:
        assert "No conversations yet" in user.screen and user.composer.has_focus


@run_async
async def test_the_sidebar_follows_new_renamed_and_deleted_conversations(store):
    async with open_chat(store, size=SIZE, sidebar=True) as user:
        await user.type("First", "enter")
        assert get_rows(user) == ["▸ First"]
        await user.answer("Yes.")
        await user.type("/new", "enter")
        assert get_rows(user) == ["  First"]
        await user.type("Second", "enter")
        await user.answer("No.")
        assert get_rows(user) == ["▸ Second", "  First"]
        await user.type("/rename [b]Two\x1b[31m", "enter")
        assert get_rows(user) == ["▸ [b]Two[31m", "  First"]
        await user.press("f3", "down", "down", "delete", "escape")
        assert get_rows(user) == ["▸ [b]Two[31m"]


@run_async
async def test_enter_and_a_click_open_a_conversation_also_during_an_answer(store):
    async with open_chat(store, size=SIZE) as user:
        await user.type("First", "enter")
        await user.answer("Yes.")
        await user.type("/new", "enter")
        await user.type("Second", "enter")
        await user.answer("Half", stop=None)
        await user.type("a draft")
        await user.press("ctrl+b")
        await user.press("escape")
        assert user.composer.has_focus and user.app.session.is_answering
        await user.press("ctrl+b", "ctrl+b")
        await user.press("down", "enter")
        assert user.texts == ["First", "Yes."] and user.composer.has_focus
        assert user.composer.text == "" and not user.app.session.is_answering
        options = user.chat.query_one(SidebarList).options
        assert "✎" in str(options[0].prompt) and "✎" not in str(options[1].prompt)
        await user.pilot.click(SidebarList, offset=(5, 0))
        await user.settle()
        assert user.texts == ["Second", "Half"] and user.composer.text == "a draft"
        assert "stopped" in user.screen and user.composer.has_focus
        await user.pilot.click(SidebarList, offset=(5, 0))  # which is open already
        await user.settle()
        assert user.texts == ["Second", "Half"] and user.composer.has_focus


@run_async
async def test_the_first_picture_of_the_highlighted_conversation_is_shown(store, cat):
    async with open_chat(store, size=SIZE, images=(cat,), sidebar=True) as user:
        sidebar = user.chat.query_one(Sidebar)
        assert not sidebar.query(Thumbnail)
        await user.type("What?", "enter")
        await user.answer("A cat.")
        assert len(sidebar.query(Thumbnail)) == 1 and "▣ 1" in user.screen
        await user.type("/new", "enter")
        assert not sidebar.query(Thumbnail)
        await user.press("ctrl+b", "ctrl+b", "down")
        assert len(sidebar.query(Thumbnail)) == 1


@run_async
async def test_each_conversation_with_a_picture_has_a_small_one(store, tmp_path):
    history = History(store)
    for name in ("red", "broken", "blue"):
        picture = tmp_path / f"{name}.png"
        Image.new("RGB", (40, 30), name if name != "broken" else "green").save(picture)
        conversation = save_conversation(history, f"The {name} one, with a long title")
        data = picture.read_bytes() if name != "broken" else b"no picture"
        file = Attachment(history.add_attachment(data), "image", picture.name, 1)
        history.save(conversation, conversation.say("Look", (file,)))
    save_conversation(history, "No picture")
    history.close()
    async with open_chat(store, size=SIZE, sidebar=True) as user:
        options = user.chat.query_one(SidebarList).options
        await user.settle()
        pictures = [get_colors(option.prompt) for option in options]
        assert pictures == [set(), {"#0000FF"}, set(), {"#FF0000"}]
        assert str(options[1].prompt).splitlines()[0] == "  The blue one, with… ▀▀▀▀▀▀▀"
        assert [str(option.prompt).count("\n") for option in options] == [1, 2, 2, 2]


def get_colors(prompt: Content) -> set[str]:
    """Return the colours of the picture in a row."""
    styles = (span.style for span in prompt.spans)
    return {style.foreground.hex for style in styles if isinstance(style, Style)}


@run_async
async def test_the_highlighted_row_stays_visible_when_its_picture_appears(store, cat):
    history = History(store)
    conversation = save_conversation(history, "A picture")
    file = Attachment(history.add_attachment(cat.read_bytes()), "image", cat.name, 1)
    history.save(conversation, conversation.say("Look", (file,)))
    for number in range(10):
        save_conversation(history, f"Talk {number}")
    history.close()
    async with open_chat(store, size=(100, 24), sidebar=True) as user:
        await user.press("ctrl+b", "ctrl+b")
        await user.press(*["down"] * 11)
        assert user.chat.query_one(Sidebar).query(Thumbnail)
        assert "A picture" in user.screen


@run_async
async def test_a_narrow_window_hides_the_sidebar_with_a_note(store):
    async with open_chat(store, size=(80, 24), sidebar=True) as user:
        await user.press("ctrl+b", "ctrl+b")
        await user.pilot.resize_terminal(79, 24)
        await user.settle()
        assert "No conversations yet" not in user.screen and user.composer.has_focus
        assert user.notices == ["the sidebar needs 80 columns"]
        await user.press("ctrl+b")
        assert len(user.notices) == 2
        await user.pilot.resize_terminal(80, 24)
        await user.settle()
        assert "No conversations yet" in user.screen


@run_async
async def test_the_history_is_read_only_while_the_sidebar_is_shown(store, searches):
    async with open_chat(store, size=SIZE) as user:
        await user.type("First", "enter")
        await user.answer("Yes.")
        assert searches == []
        await user.press("ctrl+b")
        assert searches == [FIRST_PAGE]
        await user.type("Second", "enter")
        read = len(searches)
        await user.answer(*"many pieces", stop=None)
        assert len(searches) == read


@run_async
async def test_more_conversations_are_read_at_the_end_of_the_list(store, searches):
    history = History(store)
    for number in range(FIRST_PAGE + 5):
        save_conversation(history, f"Talk {number}")
    history.close()
    async with open_chat(store, size=SIZE, sidebar=True) as user:
        options = user.chat.query_one(SidebarList)
        assert options.option_count == FIRST_PAGE
        options.focus()
        await user.press("end")
        await user.settle()
        assert searches == [FIRST_PAGE, 2 * FIRST_PAGE]
        assert options.option_count == FIRST_PAGE + 5
        assert options.highlighted == FIRST_PAGE - 1
        await user.press("end", "enter")
        assert user.texts[0] == "Talk 0"


@run_async
async def test_a_history_that_can_t_be_read_is_reported_in_the_sidebar(store):
    async with open_chat(store, size=SIZE) as user:
        for file in store.glob("history.sqlite*"):
            file.write_bytes(b"no database " * 1000)
        await user.press("ctrl+b")
        assert "the history in" in user.screen


@run_async
async def test_settings_that_can_t_be_written_are_reported_and_the_sidebar_is_shown(
    store, settings, tmp_path
):
    (tmp_path / "config").touch()  # where a folder should be
    async with open_chat(store, size=SIZE) as user:
        await user.press("ctrl+b")
        assert "No conversations yet" in user.screen and not settings.exists()
        assert user.notices[-1].startswith("the settings can't be written")


@run_async
async def test_the_sidebar_is_filled_when_the_window_becomes_wide_enough(store):
    history = History(store)
    save_conversation(history, "First")
    history.close()
    async with open_chat(store, size=(70, 24), sidebar=True) as user:
        assert "First" not in user.screen
        await user.pilot.resize_terminal(100, 24)
        await user.settle()
        assert get_rows(user) == ["  First"] and "First" in user.screen


@run_async
async def test_a_conversation_that_another_program_deleted_disappears_when_it_is_chosen(store):
    history = History(store)
    first, _ = (save_conversation(history, title) for title in ("First", "Second"))
    async with open_chat(store, size=SIZE, sidebar=True) as user:
        assert get_rows(user) == ["  Second", "  First"]
        history.delete(first.id)
        history.close()
        await user.pilot.click(SidebarList, offset=(5, 2))
        await user.settle()
        assert get_rows(user) == ["  Second"] and len(user.notices) == 1
