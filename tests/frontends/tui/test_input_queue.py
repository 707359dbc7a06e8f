"""Input that arrives at once is applied in its order, in the right text field."""

import pytest
from textual.widgets import Input, TextArea
from textual.worker import WorkerFailed
from user import User, open_chat, run_async

from mmtui.frontends.tui.screens.chat.commands import Commands
from mmtui.frontends.tui.screens.history import HistoryScreen

LEFT, RIGHT, UP, HOME, END, DELETE = "\x1b[D", "\x1b[C", "\x1b[A", "\x1b[H", "\x1b[F", "\x1b[3~"
CTRL_LEFT, CTRL_RIGHT = "\x1b[1;5D", "\x1b[1;5C"
F3, F6, F9 = "\x1bOR", "\x1b[17~", "\x1b[20~"
BURSTS = [
    ("abcdef\x7f\x7f\x7fXYZ", "abcXYZ"),
    (f"abc{LEFT}{LEFT}X{END}Y", "aXbcY"),
    (f"abc{HOME}X{DELETE}Y{END}Z", "XYbcZ"),
    ("one two\x17X", "one X"),
    ("abc\x15X", "X"),
    ("abc\x01X\x05Y", "XabcY"),
    (f"abc{LEFT}\x0bX", "abX"),
    (f"one two{CTRL_LEFT}X{HOME}{CTRL_RIGHT}", "one Xtwo"),
    (f"ab{LEFT}\x1b[200~pasted\x1b[201~Y", "apastedYb"),
]


@run_async
async def test_keys_are_applied_in_their_order_in_the_prompt(tmp_path):
    async with open_chat(tmp_path) as user:
        for data, text in [
            *BURSTS,
            ("ab\ncd\x7fe", "ab\nce"),
            ("/im\t/x", "/image /x"),
            (f"ab\ncd{UP}X", "abX\ncd"),
            ("abc\x15\x1az", "abcz"),
        ]:
            user.composer.replace_all("")
            await user.feed(data)
            assert user.composer.text == text


@run_async
async def test_keys_are_applied_in_their_order_in_the_search(tmp_path):
    async with open_chat(tmp_path) as user:
        await user.feed(f"{F3}volcxx\x7f\x7fano")
        assert isinstance(user.app.screen, HistoryScreen)
        words = user.app.screen.query_one(Input)
        assert words.value == "volcano"
        for data, text in BURSTS:
            words.value = ""
            await user.feed(data)
            assert words.value == text


@run_async
async def test_keys_are_applied_in_their_order_in_a_dialog(tmp_path):
    async with open_chat(tmp_path) as user:
        await user.feed(F9)
        area = user.app.screen.query_one(TextArea)
        for data, text in BURSTS:
            area.text = ""
            await user.feed(data)
            assert area.text == text
        area.text = ""
        await user.feed("Be bri\x7f\x7frief.\rHello\x7f\x7f\x7f\x7fey")
        assert user.app.session.conversation.system == "Be brief."
        assert user.composer.text == "Hey"


@run_async
async def test_enter_sends_only_what_was_typed_before_it(tmp_path):
    async with open_chat(tmp_path) as user:
        await user.feed("onee\x7f\rtwo")
        assert user.texts[0] == "one" and user.composer.text == "two"
        await user.answer("ok")
        await user.feed(" more\x17less\r/new\rthree")
        assert user.model.asked[-1][-1].text == "two less"
        assert user.texts == [] and user.composer.text == "three"


@run_async
async def test_keys_after_the_one_that_opens_a_screen_go_to_that_screen(tmp_path):
    async with open_chat(tmp_path) as user:
        await user.feed(f"draft{F3}volcano\x7f\x1b")
        assert user.app.screen is user.chat
        await user.feed("\x15/history tea\rXY")
        assert user.app.screen.query_one(Input).value == "teaXY"
        await user.press("escape")
        await user.feed("draft")
        assert user.composer.text == "draft"


async def focus(user: User, selector: str) -> None:
    user.chat.query(selector).first().focus()
    await user.settle()
    assert not user.composer.has_focus


@pytest.mark.parametrize("selector", ["MessageView", ".chip", "Earlier"])
def test_text_goes_to_the_prompt_wherever_the_focus_is(tmp_path, cat, selector):
    @run_async
    async def chat():
        async with open_chat(tmp_path / "store") as user:
            for number in range(11):
                user.composer.replace_all(str(number))
                await user.press("enter")
                await user.answer("ok")
        async with open_chat(tmp_path / "store", resume="latest") as user:
            await user.paste(str(cat))
            before = user.app.clipboard
            for data, text in (
                ("ect and q ", "ect and q "),
                ("\x1b[200~a paste\x1b[201~", "ect and q a paste"),
                ("\x7f\x7fy", "ect and q a pasy"),
                ("\x17x", "ect and q a x"),
            ):
                await focus(user, selector)
                await user.feed(data)
                assert user.composer.text == text
            assert user.app.clipboard == before and user.app.screen is user.chat

    chat()


@run_async
async def test_text_goes_to_the_prompt_after_a_click_on_a_message(tmp_path):
    async with open_chat(tmp_path) as user:
        await user.type("Hello", "enter")
        await user.answer("Hi.")
        await user.type("ab")
        await user.pilot.click(".text")
        await user.feed("cde")
        assert user.composer.text == "abcde" and user.app.screen is user.chat
        await user.pilot.click("#status")
        await user.feed("f")
        assert user.composer.text == "abcdef"


@run_async
async def test_text_goes_to_the_search_when_the_list_has_the_focus(tmp_path):
    async with open_chat(tmp_path) as user:
        await user.type("Hello", "enter")
        await user.answer("Hi.")
        await user.press("f3", "down")
        await user.feed("hel")
        assert user.app.screen.query_one(Input).value == "hel"


@run_async
async def test_non_ascii_spaces_and_joiners_are_inserted(tmp_path):
    text = "a\N{NO-BREAK SPACE}b\N{IDEOGRAPHIC SPACE}c👨‍👩‍👧\N{SOFT HYPHEN}"
    async with open_chat(tmp_path) as user:
        await user.feed(text)
        assert user.composer.text == text


@run_async
async def test_a_bug_in_a_command_ends_the_chat_with_its_exception(tmp_path, monkeypatch):
    monkeypatch.setattr(Commands, "do_help", lambda *_: 1 / 0)
    with pytest.raises(WorkerFailed):
        async with open_chat(tmp_path) as user:
            await user.pilot.press("f1")
    assert isinstance(user.app.failure, ZeroDivisionError)
