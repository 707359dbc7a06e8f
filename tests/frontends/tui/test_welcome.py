"""The first screen, the title and the key hints."""

import pytest
from user import FakeMicrophone, open_chat, run_async

from mmtui.chat.protocol import Ready
from mmtui.frontends.tui.widgets.hint_bar import HintBar
from mmtui.frontends.tui.widgets.message_queue import QueuedMessage
from mmtui.frontends.tui.widgets.title_bar import TitleBar
from mmtui.frontends.tui.widgets.welcome import EXAMPLES, Example, Welcome

SMOL = Ready(1, "smol", 8192, 64, None, can_see=True, reads_text=True)


def get_text(user, widget):
    """Return the text of the part of the screen that a widget takes."""
    region = user.chat.query_one(widget).region
    lines = user.screen.splitlines()[region.y : region.bottom]
    return "\n".join(line[region.x : region.right] for line in lines)


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 40)])
def test_an_empty_conversation_shows_what_can_be_done(store, size):
    @run_async
    async def chat():
        async with open_chat(store, size=size) as user:
            assert "The model is being loaded" in user.screen
            await user.receive_event(SMOL)
            text = " ".join(get_text(user, Welcome).split())
            for words in ("smol sees pictures", "reads the text", "speech", "F2", "F4", "F3"):
                assert words in text
            assert all(question in text for question in EXAMPLES)
            assert not user.chat.query_one(Welcome).show_vertical_scrollbar
            await user.type("Hello", "enter")
            assert not user.chat.query_one(Welcome).display and "Hello" in user.screen
            await user.press("ctrl+n")
            assert user.chat.query_one(Welcome).display

    chat()


@pytest.mark.parametrize(
    ("can_see", "reads_text", "text"),
    [
        (True, False, "mine sees pictures, gets speech as text."),
        (True, True, "mine sees pictures, reads the text in them, gets speech as text."),
        (False, False, "mine does not see pictures, gets speech as text."),
        (False, True, "mine reads the text in pictures, sees nothing else, gets speech as text."),
        (None, False, "mine gets speech as text."),
    ],
)
def test_what_the_model_can_do_is_shown_as_far_as_it_is_known(store, can_see, reads_text, text):
    @run_async
    async def chat():
        async with open_chat(store, model="mine", size=(120, 40)) as user:
            ready = Ready(1, "mine", 8192, 0, None, can_see=can_see, reads_text=reads_text)
            await user.receive_event(ready)
            assert text in user.screen

    chat()


@run_async
async def test_an_example_goes_into_the_prompt_by_key_and_by_mouse(store):
    async with open_chat(store) as user:
        await user.press("tab", "enter")
        assert user.composer.text == EXAMPLES[0] and user.composer.has_focus
        user.composer.clear()
        await user.pilot.click(list(user.chat.query(Example))[1])
        await user.settle()
        assert user.composer.text == EXAMPLES[1] and user.composer.has_focus


@run_async
async def test_the_title_bar_shows_the_title_and_the_model(store):
    async with open_chat(store, model="smol") as user:
        assert "New conversation" in get_text(user, TitleBar)
        await user.type("What is [b]this?", "enter")
        assert "What is [b]this?" in get_text(user, TitleBar)
        await user.answer("A cat.")
        await user.type("/rename Cats", "enter")
        assert "Cats" in get_text(user, TitleBar) and "smol" in get_text(user, TitleBar)


@run_async
async def test_the_hints_follow_what_the_user_does(store, cat):
    async with open_chat(
        store, microphone=FakeMicrophone(), keys={"image": "Ctrl+B"}, size=(100, 30)
    ) as user:

        def hints():
            return get_text(user, HintBar)

        assert "Ctrl+B picture" in hints() and "F4 speak" in hints()
        await user.type("Hello")
        assert "Enter send" in hints() and "picture" not in hints()
        await user.press("enter")
        assert "Esc stop the answer" in hints()
        await user.answer("Hi.")
        assert "F4 speak" in hints()
        await user.press("f4")
        assert "F4 finish" in hints() and "Esc discard" in hints()
        await user.press("escape")
        await user.press("tab")
        assert "Enter edit" in hints() and "Ctrl+Y copy" in hints()
        await user.press("escape")
        await user.paste(str(cat))
        user.chat.chips.children[0].focus()
        await user.settle()
        assert "Enter open" in hints() and "Delete remove" in hints()
        assert "Ctrl+X text" in hints() and "Ctrl+S save" in hints()
        assert "transcribe" not in hints()


@run_async
async def test_the_hints_follow_the_find_field_the_queue_and_a_talk(store):
    async with open_chat(store, microphone=FakeMicrophone(), size=(100, 30)) as user:

        def hints():
            return get_text(user, HintBar)

        await user.press("ctrl+f")
        assert "Up previous hit" in hints() and "Esc close" in hints()
        await user.press("escape")
        await user.type("one", "enter")
        await user.type("two", "enter")
        assert "Esc stop the answer" in hints() and "Alt+Up take the last message back" in hints()
        await user.press("escape")
        assert "Enter send the waiting messages" in hints()
        user.chat.query_one(QueuedMessage).focus()
        await user.settle()
        assert "Backspace edit" in hints() and "Delete remove" in hints()
        await user.press("escape", "alt+up", "ctrl+c")
        user.composer.clear()
        await user.press("alt+t")
        assert "Alt+T end the talk" in hints()
        await user.press("alt+t")
        assert "F4 speak" in hints()
