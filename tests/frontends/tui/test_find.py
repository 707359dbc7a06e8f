"""Words are found in the open conversation, and marked."""

import pytest
from user import open_chat, run_async

from mmtui.chat.conversation import Conversation
from mmtui.chat.history.history import History
from mmtui.frontends.tui.widgets.find_bar import FindBar
from mmtui.frontends.tui.widgets.transcript import PAGE_SIZE, Later, Transcript


def save(folder, *texts: str) -> None:
    """Store a conversation of questions and answers."""
    history, conversation = History(folder), Conversation()
    for number, text in enumerate(texts):
        message = conversation.answer() if number % 2 else conversation.say(text)
        message.text, message.state = text, "complete"
        history.save(conversation, message)
    history.close()


def marked(user) -> list[str]:
    """The words on the screen that are marked, the current one in capitals."""
    found = []
    lines = user.app.screen._compositor.render_strips()
    for segment in (segment for line in lines for segment in line):
        style = segment.style
        if style and style.reverse and style.bold and segment.text.strip():
            found.append(segment.text.upper())
    return found


@pytest.fixture
def store(tmp_path):
    """A conversation with a volcano at its start and at its end."""
    filler = [f"message {number}" for number in range(120)]
    save(tmp_path, "A VOLCÁNO?", "It is a **vol**cano: `volcano`.", *filler, "volcano", "Yes.")
    return tmp_path


@run_async
async def test_hits_are_counted_marked_and_visited_from_the_last_one(store):
    async with open_chat(store, resume="latest") as user:
        await user.type("draft", "ctrl+f")
        await user.type("volcano")
        assert "4 of 4" in user.screen and marked(user) == ["VOLCANO"]
        await user.press("enter")
        assert "3 of 4" in user.screen and "A VOLCÁNO?" in user.screen
        assert marked(user) == ["VOLCANO"]
        await user.press("up")
        assert "2 of 4" in user.screen and marked(user) == ["VOL", "CANO"]
        await user.press("up")
        assert "1 of 4" in user.screen and marked(user) == ["VOLCÁNO"]
        await user.press("enter")
        assert "4 of 4" in user.screen
        await user.press("down")
        assert "1 of 4" in user.screen
        await user.press("escape")
        assert not user.chat.query_one(FindBar).display and marked(user) == []
        assert user.composer.has_focus and user.composer.text == "draft"


@run_async
async def test_the_view_jumps_to_a_hit_and_later_messages_are_shown_on_demand(store):
    async with open_chat(store, resume="latest") as user:
        await user.type("/find message 50", "enter")
        assert "1 of 1" in user.screen and marked(user) == ["MESSAGE 50"]
        assert len(user.messages) == PAGE_SIZE and user.earlier is not None
        await user.press("escape")
        user.chat.query_one(Later).focus()
        await user.press("enter")
        assert len(user.messages) == 2 * PAGE_SIZE and marked(user) == []
        while user.chat.query(Later):
            await user.press("pagedown")
        assert user.texts[-1] == "Yes."
        await user.type("/find message 3", "enter")
        await user.press("escape")
        await user.type("more", "enter")  # shows the end again
        assert user.texts[-2] == "more" and not user.chat.query(Later)
        assert user.chat.query_one(Transcript).is_vertical_scroll_end


@run_async
async def test_words_that_are_not_there_and_answers_that_are_being_written(store):
    async with open_chat(store, resume="latest") as user:
        await user.type("/find lava", "enter")
        assert "not found" in user.screen
        await user.press("escape")
        await user.type("/find lava", "enter")
        await user.press("escape")
        await user.type("What flows?", "enter")
        await user.answer("Lava", stop=None)
        await user.press("ctrl+f")
        await user.type("lava")
        assert "1 of 1" in user.screen
        await user.answer(" flows. Lava!")
        await user.press("ctrl+f")
        assert "2 of 2" in user.screen
        await user.press("escape", "f5", "ctrl+f")
        await user.type("lava")
        assert "not found" in user.screen and user.app.session.is_answering
        await user.press("escape")
        assert user.app.session.is_answering


@run_async
async def test_code_tables_and_long_paragraphs_are_marked(tmp_path):
    long = "word " * 2000 + "needle " + "word " * 2000
    answer = f"```python\nneedle = 1\n```\n\n| a | b |\n|---|---|\n| 1 | needle |\n\n{long}"
    save(tmp_path, "Where?", answer)
    async with open_chat(tmp_path, resume="latest") as user:
        await user.type("/find needle", "enter")
        assert "3 of 3" in user.screen and marked(user) == ["NEEDLE"]
        for _ in range(2):
            await user.press("enter")
            assert "NEEDLE" in "".join(marked(user))
