"""What Textual does not document. See `mmtui.compat` for the versions."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from textual._compositor import Compositor
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.content import Content
from textual.drivers.web_driver import WebDriver
from textual.geometry import Size
from textual.message import Message
from textual.messages import ExitApp
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Markdown, Static
from textual.widgets._markdown import (
    MarkdownBlock,
    MarkdownBlockQuote,
    MarkdownBullet,
    MarkdownBulletList,
    MarkdownFence,
    MarkdownList,
    MarkdownListItem,
    MarkdownOrderedList,
    MarkdownParagraph,
    MarkdownTable,
    MarkdownTableCellContents,
    MarkdownTableContent,
)

__all__ = [
    "MarkdownBlock",
    "MarkdownBlockQuote",
    "MarkdownBullet",
    "MarkdownBulletList",
    "MarkdownFence",
    "MarkdownList",
    "MarkdownListItem",
    "MarkdownOrderedList",
    "MarkdownParagraph",
    "MarkdownTable",
    "MarkdownTableCellContents",
    "MarkdownTableContent",
    "SingleLayoutScreen",
    "XTermParser",
    "append_markdown",
    "clear_parts",
    "expire_escape",
    "get_parts",
    "keep_latest_notifications",
    "post_exit",
    "render_widget",
    "replace_parser",
    "update_from",
    "update_in_place",
    "write_meta",
    "write_to_terminal",
]

ResultT = TypeVar("ResultT")  # what a screen returns when it is dismissed


def replace_parser(parser: type[XTermParser]) -> None:
    """Have Textual's driver for Linux and macOS parse its input with another class."""
    from textual.drivers import linux_driver

    vars(linux_driver)["XTermParser"] = parser


def expire_escape(parser: XTermParser) -> None:
    """End the wait for what may follow an Escape, so that it counts as a key at the next tick."""
    if parser._timeout_time is not None:
        parser._timeout_time = 0.0


def post_exit(driver: WebDriver) -> None:
    """Have the app of a driver quit, from another thread."""
    message: Message = ExitApp()
    asyncio.run_coroutine_threadsafe(driver._app._post_message(message), driver._loop)


def keep_latest_notifications(app: App[Any], count: int) -> None:
    """Remove all notifications of an app except the latest ones.

    They disappear from the screen when the next notification is shown.

    Args:
        app: The app.
        count: How many to keep, at least 1.
    """
    for notification in list(app._notifications)[:-count]:
        app._unnotify(notification, refresh=False)


def get_parts(block: MarkdownBlock) -> Sequence[MarkdownBlock]:
    """Return the blocks in a block of Markdown that is not mounted."""
    return block._blocks


def clear_parts(block: MarkdownBlock) -> None:
    """Forget the blocks in a block of Markdown, which are mounted now."""
    block._blocks.clear()


async def update_from(shown: MarkdownBlock, block: MarkdownBlock) -> None:
    """Show the contents of a block in another one of the same kind."""
    await shown._update_from_block(block)


async def append_markdown(markdown: Markdown, text: str) -> None:
    """Add a text to a Markdown widget, whose last block is parsed again.

    `Markdown.append` alone would parse only the last line of that block if `Markdown.update` has
    shown it.
    """
    async with markdown.lock:  # an update may be in progress
        children = reversed(markdown.children)
        last = next((child for child in children if isinstance(child, MarkdownBlock)), None)
        markdown._last_parsed_line = 0 if last is None else last.source_range[0]
        added = markdown.append(text)
    await added


def update_in_place(widget: Static, content: Content) -> None:
    """Show a text in a widget, and lay the screen out only if it needs another size than before."""
    known = widget._content_width_cache, widget._content_height_cache
    widget.update(content, layout=False)
    (container_width, width), (line_width, height) = known
    is_same = isinstance(line_width, int) and height == widget.get_content_height(
        Size(0, 0), Size(0, 0), line_width
    )
    if is_same and isinstance(container_width, int):  # the width depends on the text
        is_same = width == widget.get_content_width(Size(container_width, 0), Size(0, 0))
    if not is_same:
        widget.refresh(layout=True)


class SingleLayoutScreen(Screen[ResultT]):
    """Lay a screen out only once.

    Textual would do it twice if a new widget was refreshed before the layout, or if the layout
    changes the virtual size of a container.
    """

    def _refresh_layout(self, size: Size | None = None, scroll: bool = False) -> None:
        with self._single_layout():
            super()._refresh_layout(size, scroll)

    @contextmanager
    def _single_layout(self) -> Iterator[None]:
        """Have no other layout requested while this one is in progress."""
        compositor = self._compositor
        compositor.update_widgets(self._dirty_widgets)
        self._dirty_widgets.clear()
        if self.outer_size:
            compositor._full_map_invalidated = False
        virtual_size = vars(Widget)["virtual_size"]
        flags = virtual_size._layout, virtual_size._repaint
        virtual_size._layout = virtual_size._repaint = False
        try:
            yield
        finally:
            virtual_size._layout, virtual_size._repaint = flags


def render_widget(widget: Widget) -> list[Strip]:
    """Return what a widget and its children look like, one strip for each line."""
    compositor = Compositor()
    compositor.reflow(widget, widget.outer_size)
    return compositor.render_strips()


def write_to_terminal(app: App[Any], data: str) -> None:
    """Write to the terminal of an app, between the frames that Textual draws."""
    if app._driver is not None:
        app._driver.write(data)


def write_meta(app: App[Any], data: dict[str, object]) -> None:
    """Send a packet to the server of an app that is shown in a browser."""
    if isinstance(app._driver, WebDriver):
        app._driver.write_meta(data)
