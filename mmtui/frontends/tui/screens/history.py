"""The screen that searches, opens, renames and deletes conversations."""

from asyncio import wrap_future
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.content import Content
from textual.geometry import Size
from textual.screen import Screen
from textual.widgets import Input, OptionList, Static
from textual.worker import Worker, WorkerError

from mmtui.chat.details import format_time
from mmtui.chat.history.conversation_index import Summary
from mmtui.chat.history.history import History
from mmtui.chat.notice import Notice
from mmtui.chat.session import Session
from mmtui.errors import MmtuiError
from mmtui.frontends.tui.screens.dialogs import TextDialog
from mmtui.frontends.tui.widgets.conversation_list import (
    ConversationList,
    PictureStrip,
    format_marks,
)
from mmtui.frontends.tui.widgets.hint_bar import SEARCHING, HintBar
from mmtui.frontends.tui.widgets.text_fields import LineField
from mmtui.text import one_line, remove_marks

MAX_RESULTS = 200
MIN_WIDE = 60  # columns from which a row is one line
MIN_ROOMY = 100  # columns from which pictures are beside the list


class HistoryScreen(Screen[str | None]):
    """Lists conversations. The result is the id of the one to open, or None."""

    CSS_PATH = "history.tcss"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-narrow"), (MIN_WIDE, "-wide"), (MIN_ROOMY, "-roomy"),
    ]  # fmt: skip
    VERTICAL_BREAKPOINTS = [(0, "-low"), (16, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar = [
        Binding("escape", "dismiss(None)", "back"),
        Binding("down", "focus_results", "Results", show=False),
        Binding("f2", "rename", "rename", id="rename_chat"),
        Binding("delete", "delete", "delete", id="delete_chat"),
        Binding("ctrl+z", "undo", "undo delete", id="restore_chat"),
    ]

    def __init__(self, session: Session, words: str = "") -> None:
        """Create the screen.

        Args:
            session: Provides the history and the current conversation.
            words: The initial search text.
        """
        super().__init__()
        self._session = session
        self._search_worker: Worker[None] | None = None
        # Kept here, because a search may end when the screen has lost its widgets and is closing.
        self._field = LineField(
            words, placeholder="Search conversations", id="words", select_on_focus=False
        )
        self._empty = Static("", id="empty", markup=False)
        self._results = ConversationList("results", self._format_result)
        self._pictures = PictureStrip("pictures", session.file, 3, Size(40, 5))
        self._deleted: list[str] = []

    def compose(self) -> ComposeResult:
        yield self._field
        yield self._empty
        with Container(id="found"):
            yield self._results
            yield self._pictures
        yield HintBar(SEARCHING)

    def on_mount(self) -> None:
        self._search()
        self._field.focus()

    def on_resize(self) -> None:
        if self.app.size.width < MIN_ROOMY:
            self._pictures.resize(3, Size(40, 5))
        else:
            self._pictures.resize(
                2, Size(self.app.size.width * 2 // 5, self.app.size.height // 2 - 4)
            )
        self._results.show(self._results.summaries)

    @on(Input.Changed)
    def _search_again(self) -> None:
        self._search()

    @on(Input.Submitted)
    async def action_focus_results(self) -> None:
        """Move the focus to the results once the search has finished."""
        if self._search_worker is not None:
            with suppress(WorkerError):
                await self._search_worker.wait()
        self._results.focus()
        if self._results.highlighted is None and self._results.summaries:
            self._results.highlighted = 0

    @on(OptionList.OptionSelected)
    def _resume(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)

    @on(OptionList.OptionHighlighted)
    def _show_pictures(self) -> None:
        self._pictures.show(self._results.highlighted_summary)

    @work
    async def action_rename(self) -> None:
        """Ask for a new title of the highlighted conversation."""
        if (conversation := self._results.highlighted_summary) is None:
            return
        title = await self.app.push_screen_wait(TextDialog("Title", conversation.title))
        if not title:
            return
        id = conversation.id
        if id == self._session.conversation.id:
            self._session.rename(title)
        else:
            await self._change(id, lambda history: history.rename(id, title))
        self._search()

    @work
    async def action_delete(self) -> None:
        """Delete the highlighted conversation."""
        if (conversation := self._results.highlighted_summary) is None:
            return
        id = conversation.id
        if await self._change(id, lambda history: history.delete(id)):
            self._deleted.append(id)
            self._search()
            self.notify("deleted; Ctrl+Z restores it", markup=False)

    @work
    async def action_undo(self) -> None:
        """Restore the conversation that was deleted last."""
        if self._deleted:
            id = self._deleted.pop()
            if not await self._change(id, lambda history: history.restore(id)):
                self._deleted.append(id)
            self._search()

    async def _change(self, id: str, write: Callable[[History], object]) -> bool:
        """Write to the history; on failure, show the error and return False."""
        try:
            await wrap_future(self._session.store.change(id, write))
        except MmtuiError as error:
            self._show_error(error)
            return False
        return True

    def _show_error(self, error: MmtuiError) -> None:
        notice = Notice(str(error), error.hint)
        self.notify(notice.lines, severity="error", markup=False)

    def _search(self) -> None:
        self._search_worker = self.find(self._field.value)

    @work
    async def find(self, words: str) -> None:
        """Search, and show the results unless the search text has changed in the meantime."""
        try:
            results = await wrap_future(self._session.store.search(words, MAX_RESULTS))
        except MmtuiError as error:
            self._show_error(error)
        else:
            if words == self._field.value:
                self._results.show(results)
                self._show_pictures()
                self._empty.display = not results
                self._empty.update("No conversation found" if words else "No conversations yet")

    def _format_result(self, result: Summary) -> Content:
        date, marks = format_time(result.updated), format_marks(result)
        title = Content.styled(one_line(result.title), "bold")
        if self.app.size.width < MIN_WIDE:
            lines = [title, Content(f"  {date}{marks}")]
        else:
            lines = [Content.assemble(f"{date}  ", title, marks)]
        if result.snippet:
            lines.append(Content(f"    {one_line(remove_marks(result.snippet))}"))
        return Content("\n").join(lines)
