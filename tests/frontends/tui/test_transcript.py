"""Long conversations: which messages are shown, and the scroll position."""

import pytest
from user import open_chat, run_async

from mmtui.chat.conversation import Conversation
from mmtui.chat.history.history import History
from mmtui.frontends.tui.widgets.transcript import PAGE_SIZE, Transcript
from mmtui.frontends.tui.widgets.waiting_line import WaitingLine


@pytest.fixture
def store(tmp_path):
    """A conversation of 124 messages."""
    history, conversation = History(tmp_path), Conversation()
    for number in range(62):
        history.save(conversation, conversation.say(f"question {number}"))
        answer = conversation.answer()
        answer.text, answer.state = f"answer {number}", "complete"
        history.save(conversation, answer)
    history.close()
    return tmp_path


async def stream(user, count: int, format: str) -> None:
    """Stream pieces of an answer, ten per update of the screen."""
    for start in range(0, count, 10):
        await user.answer(*[format.format(start + n) for n in range(10)], stop=None)


@run_async
async def test_the_end_is_shown_and_earlier_messages_on_demand(store):
    async with open_chat(store, resume="latest") as user:
        assert len(user.messages) == PAGE_SIZE and "answer 61" in user.screen
        shown = []
        while user.earlier is not None:
            shown.append(user.texts[0])
            user.earlier.focus()
            await user.press("enter")
            assert shown[-1] in user.screen  # the view stays where it was
        assert shown == [f"question {number}" for number in (52, 42, 32, 22, 12, 2)]
        assert user.texts[0] == "question 0" and len(user.messages) == 124


@run_async
async def test_page_up_shows_earlier_messages(store):
    async with open_chat(store, resume="latest") as user:
        while user.earlier is not None:
            await user.press("pageup")
        assert len(user.messages) == 124


@run_async
async def test_the_view_follows_the_end_unless_the_user_scrolled_up(store):
    async with open_chat(store, resume="latest") as user:
        transcript = user.chat.query_one(Transcript)
        await user.type("more", "enter")
        for number in range(20):
            await user.answer(f"line {number}\n\n", stop=None)
        assert transcript.is_vertical_scroll_end and "line 19" in user.screen
        await user.press("pageup", "pageup")
        at = transcript.scroll_offset.y
        for number in range(20, 30):
            await user.answer(f"line {number}\n\n", stop=None)
        assert transcript.scroll_offset.y == at and "line 29" not in user.screen
        await user.press(*["pagedown"] * 4)
        await user.answer("the end")
        assert "the end" in user.screen


@run_async
async def test_widgets_far_above_are_hidden_until_the_user_scrolls_up(store):
    async with open_chat(store, resume="latest") as user:
        transcript = user.chat.query_one(Transcript)
        await user.type("more", "enter")
        await stream(user, 100, "line {}\n\n")
        displayed = [view for view in transcript.children if view.display]
        assert len(displayed) == 3  # Earlier, the question, and the answer: the end of it
        blocks = displayed[-1].query("MarkdownParagraph")
        assert len(blocks) == 100 and sum(block.display for block in blocks) < 60
        assert transcript.is_vertical_scroll_end and "line 99" in user.screen
        folded = transcript.virtual_size
        user.chat.action_scroll_page(-1)
        while "line 40" not in user.screen:
            await user.press("pageup")
        assert transcript.virtual_size == folded  # the scroll position does not jump
        assert all(view.display for view in transcript.query("MessageView, MarkdownParagraph"))


@run_async
async def test_the_language_of_code_is_not_guessed_or_searched_in_plugins(store, monkeypatch):
    def slow(*_: object) -> None:
        raise AssertionError("this takes longer than a frame")

    monkeypatch.setattr("pygments.lexers.guess_lexer", slow)
    monkeypatch.setattr("pygments.lexers.find_plugin_lexers", slow)
    async with open_chat(store, resume="latest") as user:
        await user.type("more", "enter")
        for piece in (
            "```pyth",
            "on\nprint(1)\n```\n\n",
            "```\nplain\n```\n\n    indented\n\ndone",
        ):
            await user.answer(piece, stop=None)
        codes = [fence.lexer for fence in user.messages[-1].query("MarkdownFence")]
        assert codes == ["python", "text", "text"] and "done" in user.screen


@run_async
async def test_a_focused_widget_is_not_hidden(store):
    async with open_chat(store, resume="latest") as user:
        await user.type("more", "enter")
        await user.press("shift+tab")  # the answer
        await user.press("shift+tab")
        asked = user.app.focused
        await stream(user, 60, "line {}\n\n")
        assert user.app.focused is asked and "more" in str(asked.message.text)


@run_async
async def test_hiding_items_of_a_long_list_does_not_change_the_height(store):
    async with open_chat(store, resume="latest") as user:
        transcript = user.chat.query_one(Transcript)
        await user.type("more", "enter")
        await user.answer(*[f"line {number}\n\n" for number in range(30)], stop=None)
        await stream(user, 80, "1. item {}\n")
        folded = transcript.virtual_size.height
        assert transcript.is_vertical_scroll_end and "item 79" in user.screen
        transcript._culling.show_all()
        await user.settle()
        assert transcript.virtual_size.height == folded


@run_async
async def test_a_continued_answer_waits_below_its_text_for_the_next_piece(store):
    async with open_chat(store) as user:
        await user.type("Go", "enter")
        await user.answer("One, ", stop=None)
        await user.press("escape")
        assert "F7 continues" in user.screen
        await user.press("f7")
        waiting = user.messages[-1].query_one(WaitingLine)
        assert "F7 continues" not in user.screen and waiting.display
        assert waiting.region.y > user.messages[-1].blocks[-1].region.y
        await user.answer("two", stop=None)
        assert not waiting.display and "One, two" in user.screen
