"""One message in the transcript: what was said, with what, and how it ended."""

import re
from collections.abc import Sequence
from functools import cache
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message as TextualMessage
from textual.widget import Widget
from textual.widgets import Markdown, Static
from textual.widgets.markdown import MarkdownStream

from mmtui.chat.conversation import Message
from mmtui.chat.notice import Notice
from mmtui.frontends.tui.messages import NoticePosted
from mmtui.frontends.tui.widgets.chips import Chips, Find
from mmtui.text import printable

_DEFINITION = re.compile(r"^ {0,3}\[[^\]]+\]:", re.MULTILINE)  # of a link
ENDS = {
    "stopped": "◼ stopped; F7 continues",
    "failed": "◼ failed; F5 tries again",
}


class MessageView(Vertical, can_focus=True):
    """A message that is shown; of an answer that is written, it grows."""

    BINDINGS: ClassVar = [
        Binding("enter", "edit", "edit message", id="edit_message"),
        Binding("ctrl+y", "copy", "copy message", id="copy_message"),
        Binding("right", "next_version", "show next version", id="next_version"),
    ]

    class Edit(TextualMessage):
        def __init__(self, message: Message) -> None:
            super().__init__()
            self.message = message

    class Copy(TextualMessage):
        def __init__(self, message: Message) -> None:
            super().__init__()
            self.message = message

    class NextVersion(TextualMessage):
        """The next version is wanted."""

        def __init__(self, message: Message) -> None:
            super().__init__()
            self.message = message

    def __init__(self, message: Message, find: Find, version: tuple[int, int]) -> None:
        """`version`: which one of how many."""
        super().__init__(classes=f"message -{message.role}")
        self.message = message
        self._version = version
        self._find = find
        self._stream: MarkdownStream | None = None
        self._body: Markdown | None = None
        self._end = Static("", classes="end", markup=False)

    @property
    def blocks(self) -> Sequence[Widget]:
        """Of an answer, what it is made of; it grows at its end."""
        return self._body.children if self._body else []

    def compose(self) -> ComposeResult:
        yield Chips(self._find)
        text = printable(self.message.text)
        if self.message.role == "user":
            yield Static(text, markup=False, classes="said")
        else:
            self._body = Markdown(text, parser_factory=_Parser, open_links=False)
            yield self._body
        yield self._end

    async def on_mount(self) -> None:
        chips = self.query_one(Chips)
        for attachment in self.message.attachments:
            await chips.add(attachment)
        self.show_end()

    # An answer may come when its view is not there yet, which will begin with it, or is gone.

    async def write(self, piece: str) -> None:
        """More of the answer."""
        if self._body is None or not self._body.is_attached:
            return
        if self._stream is None:
            self._stream = Markdown.get_stream(self._body)
        await self._stream.write(printable(piece))

    async def finish(self) -> None:
        """The answer ended. What streaming can't do is done: links that are defined elsewhere."""
        if self._stream is not None:
            await self._stream.stop()
            self._stream = None
        text = printable(self.message.text)
        body = self._body
        if body is None or not body.is_attached:
            return
        if body.source != text or _DEFINITION.search(text):
            await body.update(text)
        self.show_end()

    def show_end(self) -> None:
        at, of = self._version
        notes = [ENDS.get(self.message.state, ""), f"version {at} of {of}" if of > 1 else ""]
        note = "  ·  ".join(filter(None, notes))
        if self._end.is_attached:
            self._end.update(note)
            self._end.display = bool(note)

    def action_edit(self) -> None:
        self.post_message(self.Edit(self.message))

    def action_next_version(self) -> None:
        self.post_message(self.NextVersion(self.message))

    def action_copy(self) -> None:
        self.post_message(self.Copy(self.message))

    @on(Markdown.LinkClicked)
    def _clicked(self, event: Markdown.LinkClicked) -> None:
        """Open a link to the web, and no other: a program of the user's may act on it."""
        event.stop()
        if event.href.startswith(("http://", "https://")):
            self.app.open_url(event.href)
        else:
            notice = Notice(f"{event.href} can't be opened", "only http and https links can")
            self.post_message(NoticePosted(notice))


class _Parser(MarkdownIt):
    """Textual's dialect. What entities stand for is cleaned, too."""

    def __init__(self) -> None:
        super().__init__("gfm-like")
        self.core.ruler.push("printable", _clean)
        self.core.ruler.push("language", _name_language)

    def normalizeLink(self, url: str) -> str:
        """Textual unquotes a link that is clicked: this keeps it what it was."""
        return super().normalizeLink(url).replace("%", "%25")


def _clean(state: StateCore) -> None:
    for block in state.tokens:
        for part in block.children or ():
            part.content = printable(part.content)


def _name_language(state: StateCore) -> None:
    """Of code: Pygments would guess it, or ask all plugins for a name that is half written.

    Either takes longer than a frame.
    """
    for block in state.tokens:
        if block.type in ("fence", "code_block"):
            name = block.info.lower().partition(" ")[0]
            block.info = name if name in _languages() else "text"


@cache
def _languages() -> frozenset[str]:
    from pygments.lexers import get_all_lexers

    return frozenset(
        alias for _, aliases, _, _ in get_all_lexers(plugins=False) for alias in aliases
    )
