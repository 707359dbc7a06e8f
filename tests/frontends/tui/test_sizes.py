"""Windows of any size: nothing crashes, and the important parts stay visible."""

import pytest
from user import open_chat, run_async

from mmtui.frontends.tui.widgets.status_bar import StatusBar
from mmtui.frontends.tui.widgets.thumbnail import Thumbnail
from mmtui.frontends.tui.widgets.transcript import Transcript

SMALL = [(7, 4), (6, 10), (5, 3), (3, 3), (2, 2), (1, 1), (1, 50), (100, 1), (40, 12)]


@run_async
async def test_the_chat_survives_the_smallest_windows(tmp_path, cat):
    async with open_chat(tmp_path / "store", size=(40, 12)) as user:
        await user.type("Hello", "enter")
        await user.paste(str(cat))
        for text in ("", "ab\ncd"):
            user.composer.replace_all(text)
            for size in SMALL:
                await user.pilot.resize_terminal(*size)
                user.stream_piece("more **text** ")
                await user.settle()
                assert user.composer.region.height >= 1
        await user.type("!")
        assert user.composer.text == "ab\ncd!" and "more text" in user.screen


@pytest.mark.parametrize("keys", ["f1", "f2", "f3", "f6", "f9", "ctrl+l", "ctrl+p"])
def test_other_screens_survive_the_smallest_windows(tmp_path, keys):
    @run_async
    async def chat():
        async with open_chat(tmp_path, size=(40, 12)) as user:
            await user.type("Hello", "enter")
            await user.answer("Hi.")
            await user.press(keys)
            assert user.app.screen is not user.chat
            for size in SMALL:
                await user.pilot.resize_terminal(*size)
                await user.settle()

    chat()


@pytest.mark.parametrize("size", [(40, 12), (30, 8), (20, 6), (12, 5)])
def test_the_prompt_and_a_chip_leave_room_for_the_transcript(tmp_path, cat, size):
    @run_async
    async def chat():
        async with open_chat(tmp_path / "store", size=size) as user:
            await user.type("Hello", "enter")
            await user.answer("Hi.")
            await user.paste(str(cat))
            user.composer.replace_all("one\ntwo\nthree\nfour\nfive\nsix\nseven")
            await user.settle()
            assert user.chat.query_one(Transcript).region.height >= 1
            assert user.chat.query_one(StatusBar).region.bottom == size[1]
            assert "seven" in user.screen

    chat()


@run_async
async def test_the_end_of_an_answer_stays_visible_in_a_lower_window(tmp_path):
    async with open_chat(tmp_path, size=(60, 24)) as user:
        await user.type("Count", "enter")
        await user.answer(*[f"line {number}\n\n" for number in range(15)])
        assert "line 14" in user.screen
        await user.pilot.resize_terminal(60, 18)
        await user.settle()
        assert "line 14" in user.screen


@run_async
async def test_a_notification_does_not_cover_the_prompt(tmp_path):
    async with open_chat(tmp_path, size=(40, 12)) as user:
        await user.type("/copy " + "all " * 20, "enter")
        assert user.notices
        rack = user.chat.query_one("ToastRack").region
        assert not rack.overlaps(user.composer.region)


@run_async
async def test_hints_and_the_status_are_left_out_rather_than_cut(tmp_path):
    async with open_chat(tmp_path, size=(40, 12)) as user:
        assert "Ask something (F1 for help)" in user.screen
        await user.type("Hello", "enter")
        await user.answer("Hi.")
        assert "ready" in user.screen and "tokens/s" not in user.screen
        await user.press("f3", "down")
        assert "Esc back  Delete delete  F2 rename" in user.screen
        assert "Ctrl+Z" not in user.screen
        await user.pilot.resize_terminal(80, 24)
        await user.settle()
        assert "F2 rename  Ctrl+Z undo delete" in user.screen
        await user.press("escape")
        await user.settle()
        assert "tokens/s" in user.screen and "/ for commands" in user.screen


@run_async
async def test_a_large_window_has_pictures_beside_the_list_of_conversations(tmp_path, cat):
    async with open_chat(tmp_path, size=(120, 40), images=(cat,)) as user:
        await user.type("What?", "enter")
        await user.answer("A cat.")
        await user.press("f3", "down")
        strip, results = (user.app.screen.query_one(id) for id in ("#pictures", "#results"))
        assert strip.region.x == results.region.right and strip.region.y == results.region.y
        large = user.app.screen.query_one(Thumbnail).size
        await user.pilot.resize_terminal(80, 24)
        await user.settle()
        assert strip.region.y == results.region.bottom
        assert user.app.screen.query_one(Thumbnail).size.height < large.height
