"""Blocks of a reply that are complete are drawn from snapshots while the reply is written."""

import pytest
from rich.segment import Segment
from textual.widget import Widget
from user import User, open_chat, run_async

from mmtui.frontends.tui.widgets import reply_text
from mmtui.frontends.tui.widgets.snapshot import Snapshot

TEXT = """- one, which is **long enough** to be wrapped in a terminal that is not wide
  1. nested
- two

| a | b |
|---|---|
| 1 | [link](https://example.org) |

> quoted

```python
x = 1
```

1. first
2. second
"""


def find_snapshots(user: User) -> list[Widget]:
    """The blocks of the last message that are drawn from a snapshot."""
    return [
        widget
        for widget in user.messages[-1].walk_children()
        if isinstance(widget, Snapshot) and widget.is_frozen
    ]


def draw(user: User) -> list[list[Segment]]:
    """What is on the screen, with its styles but without what the mouse finds there."""
    lines = user.app.screen._compositor.render_strips()
    return [[*line.simplify().discard_meta()] for line in lines]


async def stream(user: User) -> None:
    """Stream most of a reply, and wait until what is complete is drawn from snapshots."""
    await user.type("Go", "enter")
    for line in TEXT.splitlines(keepends=True):
        user.stream_piece(line)
        await user.settle()
    assert find_snapshots(user)


def get_reply_lines(user: User) -> list[list[Segment]]:
    reply = user.messages[-1].region
    return draw(user)[reply.y : reply.bottom]


@run_async
async def test_snapshots_look_like_the_blocks(tmp_path):
    async with open_chat(tmp_path, size=(60, 50)) as user:
        await stream(user)
        kinds = {type(each).__name__ for each in find_snapshots(user)}
        assert kinds >= {"GrowingBulletList", "GrowingTable", "Quotation", "CodeBlock", "ListRow"}
        frozen = get_reply_lines(user)
        await user.answer()
        assert not find_snapshots(user) and get_reply_lines(user) == frozen


@pytest.mark.parametrize("change", ["width", "theme"])
def test_snapshots_follow_the_window_and_the_theme(tmp_path, change):
    @run_async
    async def chat():
        async with open_chat(tmp_path, size=(60, 50)) as user:
            await stream(user)
            if change == "width":
                await user.pilot.resize_terminal(45, 50)
            else:
                user.app.theme = "textual-light"
            await user.settle()
            before = get_reply_lines(user)
            await user.answer()
            assert get_reply_lines(user) == before

    chat()


@run_async
async def test_the_mouse_reaches_a_link_while_the_reply_is_written(tmp_path, monkeypatch):
    opened = []
    async with open_chat(tmp_path, size=(60, 50)) as user:
        monkeypatch.setattr(user.app, "open_url", opened.append)
        await stream(user)
        cell = list(user.messages[-1].query("MarkdownTableContent > *"))[-1]
        await user.pilot.hover("GrowingTable")
        await user.settle()
        assert not find_snapshots(user)
        await user.pilot.click(cell, offset=(2, 0))
        await user.answer(" and more", stop=None)
        assert opened == ["https://example.org"] and not find_snapshots(user)


@run_async
async def test_text_is_selected_while_the_reply_is_written(tmp_path, monkeypatch):
    async with open_chat(tmp_path, size=(60, 50)) as user:
        await stream(user)
        monkeypatch.setattr(reply_text, "MIN_THAWED_S", 600.0)  # the test may be slow
        await user.pilot.hover("GrowingBulletList")
        await user.settle()
        await user.pilot.mouse_down("GrowingBulletList", offset=(2, 0))
        await user.pilot.hover("GrowingBulletList", offset=(4, 0))
        await user.pilot.mouse_up("GrowingBulletList", offset=(4, 0))
        await user.answer(" and more", stop=None)
        assert user.app.screen.get_selected_text() == "one"


@run_async
async def test_words_are_marked_while_the_reply_is_written(tmp_path):
    async with open_chat(tmp_path, size=(60, 50)) as user:
        await stream(user)
        plain = get_reply_lines(user)
        await user.press("ctrl+f")
        await user.type("nested")
        await user.settle()
        assert "1 of 1" in user.screen and get_reply_lines(user) != plain
        await user.press("escape")
        await user.settle()
        assert get_reply_lines(user) == plain


@run_async
async def test_what_is_written_while_another_screen_is_open_is_seen_later(tmp_path, monkeypatch):
    monkeypatch.setattr(reply_text, "MAX_WAIT_S", 0.0)  # no frame is drawn in time
    async with open_chat(tmp_path, size=(60, 50)) as user:
        await user.type("Go", "enter")
        user.stream_piece("- a\n")
        await user.settle()
        await user.press("f3")
        user.stream_piece("- b\n- c\n- d\n\nEnd")
        await user.settle()
        await user.press("escape")
        await user.settle()
        reply = ["".join(part.text for part in line) for line in get_reply_lines(user)]
        assert [line.split()[-1] for line in reply if line.split()] == ["a", "b", "c", "d", "End"]
        await user.answer()
