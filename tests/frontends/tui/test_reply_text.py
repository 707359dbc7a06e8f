"""The text of a reply while it is written."""

import pytest
from user import open_chat, run_async

from mmtui.frontends.tui.screens.chat.screen import ChatScreen

TEXTS = {
    "numbers": "".join(f"{number}. item *{number}*\n" for number in range(1, 13)) + "\nEnd.",
    "bullets": "- one\n- two\n  continued\n\n  and a paragraph\n- three\n\nEnd.",
    "nested": "1. a\n   - b\n   - c\n     1. d\n     2. e\n   - f\n2. g\n\n- other\n- list",
    "code": "- run\n  ```python\n  x = 1\n  y = 2\n  ```\n- then\n\n"
    "  | a | b |\n  |---|---|\n  | 1 | 2 |\n",
    "table": "| a | **b** |\n|---|---|\n| 1 | 2 |\n| three and more | `4` |\n|5|\n\nEnd.",
    "table before a list": "| a | b |\n|---|---|\n| 1 | 2 |\n1. one\n2. two\n\nEnd.",
    "rules": "- a\n\n  ---\n\n  b\n- c\n\n> d\n>\n> ---\n>\n> e\n\n---\n\nEnd.",
    "html": "A vector<int>.\n\n<div>\ninside\n</div>\n\nA <b>word</b>, <!-- and a comment -->.",
    "changes": "- a\n---\n1. b\n-\n- c\n* d\n2) e\n\n> - f\n> - g\n",
    "all": "# Title\n\nText with [a link][1].\n\n1. a\n\n```\ncode\n```\n\n- b\n\n[1]: https://example.org\n",
}


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("name", TEXTS)
def test_a_streamed_reply_looks_as_if_it_had_come_at_once(tmp_path, name, size):
    @run_async
    async def chat():
        text = TEXTS[name]
        async with open_chat(tmp_path, size=(60, 50)) as user:
            await user.type("Go", "enter")
            for start in range(0, len(text), size):
                user.stream_piece(text[start : start + size])
                await user.pilot.pause()
            await user.answer()
            streamed = user.screen
            await user.chat.show_thread()
            await user.settle()
            assert streamed == user.screen and user.texts[-1] == text

    chat()


@run_async
async def test_cells_that_are_complete_stay_while_their_table_grows(store):
    async with open_chat(store) as user:
        await user.type("Go", "enter")
        await user.answer("| a | b |\n|---|---|\n| one | t", stop=None)
        cells = list(user.messages[-1].query("MarkdownTableContent > *"))
        await user.answer("wo |\n| three", " | four |\n", stop=None)
        assert list(user.messages[-1].query("MarkdownTableContent > *"))[:4] == cells
        assert "two" in user.screen and "four" in user.screen


@run_async
async def test_items_that_are_complete_stay_while_their_list_grows(store):
    async with open_chat(store) as user:
        await user.type("Go", "enter")
        await user.answer("- one\n  - two\n", stop=None)
        rows = list(user.messages[-1].query("GrowingBulletList Horizontal"))
        await user.answer("  - three\n- four **and", " more**\n", stop=None)
        assert list(user.messages[-1].query("GrowingBulletList Horizontal"))[:2] == rows
        assert all(row.is_attached for row in rows)
        assert "three" in user.screen and "four and more" in user.screen
        assert [row.region.height for row in rows] == [3, 1]


@pytest.mark.parametrize("start", ["One", "- one", "```\ncode"])
def test_a_line_that_grows_needs_no_layout(tmp_path, monkeypatch, start):
    @run_async
    async def chat():
        async with open_chat(tmp_path) as user:
            await user.type("Go", "enter")
            for piece in (start, "x", "x"):
                await user.answer(piece, stop=None)
            layouts = []
            monkeypatch.setattr(ChatScreen, "_refresh_layout", lambda *_, **__: layouts.append(1))
            await user.answer("y", stop=None)
            assert not layouts and f"{start.split()[-1]}xxy" in user.screen

    chat()


@run_async
async def test_html_is_shown_as_text(store):
    async with open_chat(store) as user:
        await user.type("Go", "enter")
        await user.answer("A vector<int>.\n\n<div>inside</div>\n", "\nA <b>word</b>.")
        for text in ("A vector<int>.", "<div>inside</div>", "A <b>word</b>."):
            assert text in user.screen


@pytest.mark.parametrize(
    ("start", "rest"),
    [
        ("- one\n- two\n- three", "\n- four"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "\n| 3 | 4 |"),
        ("Text.\n\n```\nfirst\nsecond", "\nthird\n```\n\nEnd."),
    ],
)
def test_an_answer_that_is_continued_after_it_was_opened_again_stays_complete(store, start, rest):
    @run_async
    async def chat():
        async with open_chat(store) as user:
            await user.type("Go", "enter")
            await user.answer(start, stop=None)
            await user.press("escape")
        async with open_chat(store, resume="latest") as user:
            await user.press("f7")
            await user.answer(rest)
            streamed = user.screen
            await user.chat.show_thread()
            await user.settle()
            assert streamed == user.screen and user.texts[-1] == start + rest

    chat()


@run_async
async def test_tooltips_of_cells_follow_their_text_and_have_no_markup(store):
    async with open_chat(store) as user:
        await user.type("Go", "enter")
        for piece in ("| a [/b] | c |\n|---|---|\n| one | t", "wo |\n| thr", "ee |"):
            await user.answer(piece, stop=None)
        cells = user.messages[-1].query("MarkdownTableContent > *")
        tooltips = [getattr(cell.tooltip, "plain", None) for cell in cells]
        assert tooltips == ["a [/b]", "c", "one", "two", "three", ""]
