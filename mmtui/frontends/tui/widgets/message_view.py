"""A message in the transcript: its details, attachments, text and state."""

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message as TextualMessage
from textual.widget import Widget
from textual.widgets import Markdown, Static

from mmtui.chat.conversation import Message
from mmtui.chat.details import SEPARATOR, describe
from mmtui.chat.notice import Notice
from mmtui.chat.protocol import Piece
from mmtui.frontends.tui.messages import NoticePosted
from mmtui.frontends.tui.widgets.chips import Chips, FindFile
from mmtui.frontends.tui.widgets.folded_text import FoldedText
from mmtui.frontends.tui.widgets.reply_text import ReplyText
from mmtui.frontends.tui.widgets.waiting_line import WaitingLine
from mmtui.text import printable

STATE_NOTES = {
    "stopped": "◼ stopped; F7 continues",
    "failed": "◼ failed; F5 tries again",
}


class MessageView(Vertical, can_focus=True):
    """A message, which grows while a reply is written."""

    BINDINGS: ClassVar = [
        Binding("enter", "edit", "edit message", id="edit_message"),
        Binding("ctrl+y", "copy", "copy message", id="copy_message"),
        Binding("right", "next_version", "show next version", id="next_version"),
    ]

    class Edit(TextualMessage):
        """The user wants to edit the message."""

        def __init__(self, message: Message) -> None:
            super().__init__()
            self.message = message

    class Copy(TextualMessage):
        """The user wants to copy the message."""

        def __init__(self, message: Message) -> None:
            super().__init__()
            self.message = message

    class NextVersion(TextualMessage):
        """The user wants to see the next version of the message."""

        def __init__(self, message: Message) -> None:
            super().__init__()
            self.message = message

    def __init__(self, message: Message, find: FindFile, version: tuple[int, int]) -> None:
        """Create the view.

        Args:
            message: The message to show.
            find: Returns the file of an attachment.
            version: The number of this version, from 1, and the number of versions.
        """
        super().__init__(classes=f"message -{message.role}")
        self.message = message
        self._version = version
        self._find = find
        self._body: ReplyText | None = None
        self._details = Static(describe(message), classes="details", markup=False)
        self._folded: dict[str, FoldedText] = {}  # by their titles
        self._waiting = WaitingLine()
        self._note = Static("", classes="note", markup=False)

    @property
    def blocks(self) -> Sequence[Widget]:
        """The Markdown blocks of a reply; streaming adds blocks at the end."""
        return self._body.children if self._body else []

    @property
    def texts(self) -> list[Static]:
        """The widgets that show the text, from top to bottom."""
        if self._body is not None:
            return list(self._body.query(Static))
        return list(self.query(".text").results(Static))

    def compose(self) -> ComposeResult:
        yield self._details
        chips = Chips(self._find)
        text = printable(self.message.text)
        if self.message.role == "user":
            yield chips
            yield Static(text, markup=False, classes="text")
        else:
            for title, folded in self._list_folded():
                self._folded[title] = FoldedText(title, folded)
                yield self._folded[title]
            self._body = ReplyText(text)
            yield self._waiting
            yield self._body
            yield chips
        yield self._note

    async def on_mount(self) -> None:
        await self.show_attachments()
        self.show_note()
        if self.message.state == "writing" and not self.message.text:
            self._waiting.start()

    async def show_piece(self, piece: Piece) -> None:
        """Show a piece of a reply, which is in the message already."""
        self._waiting.stop()
        if piece.is_thinking or piece.is_tool:
            await self._show_folded()
        else:
            await self._write(piece.text)

    async def _write(self, piece: str) -> None:
        """Add a piece to a reply.

        Does nothing before the view is mounted, since it is composed with the text so far, and
        after it is removed.
        """
        if self._body is not None and self._body.is_attached:
            self._body.write(printable(piece))

    async def show_attachments(self) -> None:
        """Show the attachments that have been added since the last call."""
        for chips in self.query(Chips):  # there are none before the view is composed
            shown = len(chips.attachments)
            await chips.add(*self.message.attachments[shown:])

    async def _show_folded(self) -> None:
        """Show the thinking and the tool calls so far, folded away."""
        if self._body is None or not self._body.is_attached:
            return
        for title, text in self._list_folded():
            if title in self._folded:
                self._folded[title].update_text(text)
            else:
                self._folded[title] = FoldedText(title, text)
                await self.mount(self._folded[title], before=self._body)

    def _list_folded(self) -> list[tuple[str, str]]:
        """Return the titles of the texts that are folded away, with the texts."""
        texts = [("thinking", self.message.thinking), ("tools", self.message.tools)]
        return [(title, text) for title, text in texts if text]

    async def finish(self) -> None:
        """Show the complete text, and the state of the message."""
        if self._body is None or not self._body.is_attached:
            return
        self._waiting.stop()
        await self._body.finish(printable(self.message.text))
        self._details.update(describe(self.message))
        self.show_note()

    def thaw(self) -> None:
        """Let the mouse and marks reach all of a reply that is being written."""
        if self._body is not None:
            self._body.thaw()

    def resume(self) -> None:
        """Show that a reply is being written again, until its next piece arrives."""
        if self._body is not None and self._body.is_attached:
            self.move_child(self._waiting, after=self._body)
            self._waiting.start()
            self.show_note()

    def show_note(self, activity: str = "") -> None:
        """Show the state of the message, and the number of its version.

        Args:
            activity: What is done with the message, such as "reading aloud".
        """
        version, count = self._version
        parts = [f"♪ {activity}" if activity else "", STATE_NOTES.get(self.message.state, "")]
        if count > 1:
            parts.append(f"version {version} of {count}")
        note = SEPARATOR.join(filter(None, parts))
        if self._note.is_attached:
            self._note.update(note)
            self._note.display = bool(note)

    def action_edit(self) -> None:
        """Request to edit the message."""
        self.post_message(self.Edit(self.message))

    def action_next_version(self) -> None:
        """Request the next version."""
        self.post_message(self.NextVersion(self.message))

    def action_copy(self) -> None:
        """Request to copy the message."""
        self.post_message(self.Copy(self.message))

    @on(Markdown.LinkClicked)
    def _open_link(self, event: Markdown.LinkClicked) -> None:
        """Open a link to the web; other links could make other programs act."""
        event.stop()
        if event.href.startswith(("http://", "https://")):
            self.app.open_url(event.href)
        else:
            notice = Notice(
                f"{event.href} can't be opened", "only http and https links can be opened"
            )
            self.post_message(NoticePosted(notice))
