"""The conversations at the left of the chat, the latest first."""

from asyncio import wrap_future
from collections.abc import Callable
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widgets import OptionList, Static

from mmtui.chat.conversation import Attachment
from mmtui.chat.details import format_time
from mmtui.chat.history.conversation_index import Summary
from mmtui.chat.session import Session
from mmtui.errors import MmtuiError
from mmtui.frontends.tui.widgets.conversation_list import (
    ConversationList,
    PictureStrip,
    format_marks,
)
from mmtui.frontends.tui.widgets.tiny_picture import LINES, draw_tiny_picture
from mmtui.text import one_line

FIRST_PAGE = 100  # conversations that are read at first; twice as many at the end of the list
OPEN_MARK = "▸ "
TEXT_WIDTH = 21  # of a row with a picture


class SidebarList(ConversationList):
    """The list in the sidebar."""

    BINDINGS: ClassVar = [
        Binding("enter", "select", "open conversation", id="open_conversation"),
    ]


class Sidebar(Vertical):
    """Lists conversations with small pictures, and shows the one that is highlighted larger.

    Nothing is read from the history before the sidebar is shown for the first time.
    """

    def __init__(self, session: Session, open_conversation: Callable[[str], object]) -> None:
        """Create the sidebar.

        Args:
            session: Provides the history and the open conversation.
            open_conversation: Called with the id of a conversation that the user chooses.
        """
        super().__init__(id="sidebar")
        self._session, self._open_conversation = session, open_conversation
        self._list = SidebarList("conversations", self._format_row)
        self._picture = PictureStrip("sidebar-picture", session.file, 1, Size(26, 7))
        self._note = Static("", id="sidebar-note", markup=False)
        self._note.display = False
        self._limit = FIRST_PAGE
        self._shown: tuple[int, str] | None = None  # revision of the history, open conversation
        self._drawn: dict[str, list[Content]] = {}  # pictures by their SHA-256; [] if unreadable
        self._is_drawing = False

    def compose(self) -> ComposeResult:
        yield Static("Conversations", id="sidebar-title", markup=False)
        yield self._note
        yield self._list
        yield self._picture

    def follow(self) -> None:
        """Show what has changed. This is called for every token of an answer."""
        state = self._session.store.revision, self._session.conversation.id
        if state != self._shown:
            self._shown = state
            self._load()

    def open(self) -> None:
        """Read the history, which another program may have changed, and focus the list."""
        self.reload()
        self._list.focus()

    def reload(self) -> None:
        """Read the history again, because another program has changed it."""
        self._shown = None
        self.follow()

    @work(exclusive=True, name="list_conversations", group="sidebar")
    async def _load(self) -> None:
        try:
            found = await wrap_future(self._session.store.search("", self._limit))
        except MmtuiError as error:
            self._show_note(str(error))
            return
        self._list.show(found)
        self.call_after_refresh(self._draw_next)
        self._show_note("" if found else "No conversations yet")
        if not self._list.has_focus or self._list.highlighted is None:
            self._highlight_open()

    def _highlight_open(self) -> None:
        ids = [each.id for each in self._list.summaries]
        id = self._session.conversation.id
        self._list.highlighted = ids.index(id) if id in ids else None
        self._show_picture()

    def _show_note(self, note: str) -> None:
        self._note.update(one_line(note))
        self._note.display = bool(note)

    @on(ConversationList.EndReached)
    def _load_more(self, event: ConversationList.EndReached) -> None:
        event.stop()
        if len(self._list.summaries) == self._limit:  # else these are all
            self._limit *= 2
            self._load()

    class PictureDrawn(Message):
        """The small picture of a conversation was drawn."""

        def __init__(self, sha256: str, lines: list[Content]) -> None:
            super().__init__()
            self.sha256, self.lines = sha256, lines

    @on(ConversationList.Moved)
    def _draw_next(self) -> None:
        """Draw a picture in sight that was not drawn before, unless one is being drawn."""
        if self._is_drawing:
            return
        firsts = (each.pictures[0] for each in self._list.summaries_in_sight if each.pictures)
        if missing := next((sha256 for sha256 in firsts if sha256 not in self._drawn), None):
            self._is_drawing = True
            self._draw_in_thread(missing)

    @work(thread=True, name="draw_picture", group="sidebar_pictures")
    def _draw_in_thread(self, sha256: str) -> None:
        try:
            lines = draw_tiny_picture(self._session.file(Attachment(sha256, "image", "", 0)))
        except (MmtuiError, OSError):
            lines = []
        self.post_message(self.PictureDrawn(sha256, lines))

    @on(PictureDrawn)
    def _show_drawn(self, event: PictureDrawn) -> None:
        event.stop()
        self._is_drawing = False
        self._drawn[event.sha256] = event.lines
        self._list.update_rows(lambda summary: summary.pictures[:1] == (event.sha256,))
        self._draw_next()

    @on(OptionList.OptionHighlighted)
    def _show_picture(self) -> None:
        self._picture.show(self._list.highlighted_summary)

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id is not None:
            self._open_conversation(event.option_id)

    def _format_row(self, summary: Summary) -> Content:
        is_open = summary.id == self._session.conversation.id
        title = one_line(summary.title)
        # The draft of the open conversation is in the prompt.
        marks = format_marks(summary, with_draft=not is_open)
        first = Content.assemble(OPEN_MARK if is_open else "  ", (title, "bold" if is_open else ""))
        date = format_time(summary.updated)
        if not summary.pictures:
            return Content("\n").join([first, Content(f"  {date}{marks}")])
        lines = [first, Content(f"  {date}"), Content(marks)]
        picture = self._drawn.get(summary.pictures[0]) or [Content("")] * LINES
        return Content("\n").join(
            line.truncate(TEXT_WIDTH, ellipsis=True, pad=True) + " " + drawn
            for line, drawn in zip(lines, picture, strict=True)
        )
