"""The text of a reply: Markdown, which grows while it is written."""

import asyncio
import re
import threading
import time
from contextlib import suppress
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from textual import on
from textual.events import (
    MouseDown,
    MouseMove,
    MouseScrollDown,
    MouseScrollLeft,
    MouseScrollRight,
    MouseScrollUp,
)
from textual.widgets import Markdown

from mmtui.compat.textual_hooks import MarkdownBlock, append_markdown
from mmtui.frontends.tui.widgets.code_block import CodeBlock
from mmtui.frontends.tui.widgets.growing_blocks import (
    GrowingBulletList,
    GrowingOrderedList,
    GrowingParagraph,
    GrowingTable,
    Quotation,
)
from mmtui.frontends.tui.widgets.snapshot import freeze_complete, thaw_all
from mmtui.text import printable

MAX_WAIT_S = 0.1  # for a frame; none is drawn while the terminal is suspended
MIN_THAWED_S = 2.0  # after the mouse was used
_LINK_DEFINITION = re.compile(r"^ {0,3}\[[^\]]+\]:", re.MULTILINE)
_NESTED_RULE = "nested_hr"  # the type of a horizontal rule inside another block


class ReplyText(Markdown):
    """Markdown with our code blocks and lists. Its texts have no control characters."""

    BLOCKS = Markdown.BLOCKS | {
        "fence": CodeBlock,
        "code_block": CodeBlock,
        "paragraph_open": GrowingParagraph,
        "bullet_list_open": GrowingBulletList,
        "ordered_list_open": GrowingOrderedList,
        "blockquote_open": Quotation,
        "table_open": GrowingTable,
    }

    BLANK = True  # only its blocks draw something

    def __init__(self, text: str) -> None:
        """Create the widget for a printable text in Markdown."""
        super().__init__(text, parser_factory=_get_parser, open_links=False)
        self._pending = ""
        self._writing: asyncio.Task[None] | None = None
        self._is_drawn = asyncio.Event()
        self._is_finishing = False
        self._thawed_at = -MIN_THAWED_S
        self._has_frozen = False

    def write(self, piece: str) -> None:
        """Add a piece soon: pieces that arrive before the next frame are added together."""
        self._pending += piece
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_pending())

    async def finish(self, text: str) -> None:
        """Show the complete text, with link references, which are resolved only here.

        Args:
            text: The text, of which pieces may be missing.
        """
        self.thaw()
        if self._writing is not None:
            # No frame is drawn while the screen waits for this.
            self._is_finishing = True
            self._is_drawn.set()
            await self._writing
            self._is_finishing = False
        if self.source != text or _LINK_DEFINITION.search(text):
            await self.update(text)

    def thaw(self) -> None:
        """Draw complete blocks from their widgets again, so that the mouse and marks reach them."""
        self._thawed_at = time.monotonic()
        if self._has_frozen:
            self._has_frozen = False
            thaw_all(self)

    def _can_freeze(self) -> bool:
        """Return whether the text is laid out, and neither selected nor under a moving mouse."""
        is_drawn = self._is_drawn.is_set() and self.screen.is_current
        if self._is_finishing or not is_drawn:
            return False
        is_used = time.monotonic() - self._thawed_at < MIN_THAWED_S
        return not (is_used or self.screen.selections)

    @on(MouseMove)
    @on(MouseDown)
    @on(MouseScrollUp)
    @on(MouseScrollDown)
    @on(MouseScrollLeft)
    @on(MouseScrollRight)
    def _handle_mouse(self) -> None:
        self.thaw()

    def unhandled_token(self, token: Token) -> MarkdownBlock | None:
        """Return the block of a horizontal rule inside another block."""
        return self.get_block_class("hr")(self, token) if token.type == _NESTED_RULE else None

    async def _write_pending(self) -> None:
        while self._pending and self.is_attached:
            piece, self._pending = self._pending, ""
            await append_markdown(self, piece)
            await self._wait_for_frame()
            if self._can_freeze():
                self._has_frozen = True
                freeze_complete(self)

    async def _wait_for_frame(self) -> None:
        if self._is_finishing:
            return
        self._is_drawn.clear()
        if self.call_after_refresh(self._is_drawn.set):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_drawn.wait(), MAX_WAIT_S)


class _Parser(MarkdownIt):
    """Textual's Markdown parser, without control characters from entities."""

    def __init__(self) -> None:
        super().__init__("gfm-like", {"html": False})  # Textual would leave HTML out
        self.core.ruler.push("printable", _remove_controls)
        self.core.ruler.push("language", _normalize_language)
        self.core.ruler.push("nested_rules", _rename_nested_rules)

    def normalizeLink(self, url: str) -> str:
        """Escape percent signs, because Textual unquotes a link when it is clicked."""
        return super().normalizeLink(url).replace("%", "%25")


_thread = threading.local()


def _get_parser() -> MarkdownIt:
    """Return the parser of this thread. It takes longer to create one than to parse a paragraph."""
    if not hasattr(_thread, "parser"):
        _thread.parser = _Parser()
    parser: MarkdownIt = _thread.parser
    return parser


def _remove_controls(state: StateCore) -> None:
    for block in state.tokens:
        for part in block.children or ():
            part.content = printable(part.content)


def _normalize_language(state: StateCore) -> None:
    """Set unknown languages of code blocks to "text".

    Otherwise Pygments would guess the language, or search all plugins for a name that is not yet
    complete; both take longer than a frame.
    """
    for block in state.tokens:
        if block.type in ("fence", "code_block"):
            name = block.info.lower().partition(" ")[0]
            block.info = name if name in _list_languages() else "text"


def _rename_nested_rules(state: StateCore) -> None:
    """Rename horizontal rules inside other blocks, which Textual would put after these blocks."""
    for block in state.tokens:
        if block.type == "hr" and block.level > 0:
            block.type = _NESTED_RULE


@cache
def _list_languages() -> frozenset[str]:
    from pygments.lexers import get_all_lexers

    return frozenset(
        alias for _, aliases, _, _ in get_all_lexers(plugins=False) for alias in aliases
    )
