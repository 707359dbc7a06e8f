"""Earlier conversations: searched, renamed, deleted with undo, resumed."""

from asyncio import wrap_future
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import Worker, WorkerError

from mmtui.chat.conversation import Attachment
from mmtui.chat.history.conversation_index import Summary
from mmtui.chat.history.history import History
from mmtui.chat.notice import Notice
from mmtui.chat.session import Session
from mmtui.errors import MmtuiError
from mmtui.frontends.tui.screens.dialogs import TextDialog
from mmtui.frontends.tui.widgets.text_fields import LineField
from mmtui.frontends.tui.widgets.thumbnail import Thumbnail
from mmtui.text import one_line

SHOWN = 200


class HistoryScreen(Screen[str | None]):
    """Its result is the id of the conversation to resume."""

    CSS_PATH = "history.tcss"
    BINDINGS: ClassVar = [
        Binding("escape", "dismiss(None)", "Back"),
        Binding("down", "into_list", "List", show=False),
        Binding("f2", "rename", "Rename", id="rename_chat"),
        Binding("delete", "delete", "Delete", id="delete_chat"),
        Binding("ctrl+z", "undo", "Undo delete", id="restore_chat"),
    ]

    def __init__(self, session: Session, words: str = "") -> None:
        super().__init__()
        self._session, self._words = session, words
        self._searching: Worker[None] | None = None
        self._found: list[Summary] = []
        self._deleted: list[str] = []

    def compose(self) -> ComposeResult:
        yield LineField(
            self._words, placeholder="Search conversations", id="words",
            select_on_focus=False,
        )  # fmt: skip
        yield OptionList(id="found", markup=False)
        yield Horizontal(id="pictures")
        yield Static("", id="none", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self._search()
        self.query_one("#words").focus()

    @on(Input.Changed)
    def _changed(self) -> None:
        self._search()

    @on(Input.Submitted)
    async def action_into_list(self) -> None:
        if self._searching is not None:
            with suppress(WorkerError):
                await self._searching.wait()
        found = self.query_one(OptionList)
        found.focus()
        if found.highlighted is None and self._found:
            found.highlighted = 0

    @on(OptionList.OptionSelected)
    def _resume(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)

    @on(OptionList.OptionHighlighted)
    async def _show_pictures(self, event: OptionList.OptionHighlighted) -> None:
        pictures = self.query_one("#pictures")
        await pictures.remove_children()
        found = next((one for one in self._found if one.id == event.option_id), None)
        for sha256 in found.pictures if found else ():  # the list may be another one by now
            try:
                file = self._session.file(Attachment(sha256, "image", "", 0))
            except MmtuiError:
                continue  # it is gone; the others are shown
            await pictures.mount(Thumbnail(file, 5))

    @work
    async def action_rename(self) -> None:
        if (chosen := self._chosen()) is not None:
            title = await self.app.push_screen_wait(TextDialog("Title", chosen.title))
            if not title:
                return
            if chosen.id == self._session.conversation.id:
                self._session.rename(title)  # in memory, too
            else:
                await self._change(chosen.id, lambda history: history.rename(chosen.id, title))
            self._search()

    @work
    async def action_delete(self) -> None:
        if (chosen := self._chosen()) is not None and await self._change(
            chosen.id, lambda history: history.delete(chosen.id)
        ):
            self._deleted.append(chosen.id)
            self._search()
            self.notify("deleted; Ctrl+Z undoes it", markup=False)

    @work
    async def action_undo(self) -> None:
        if self._deleted:
            id = self._deleted.pop()
            if not await self._change(id, lambda history: history.restore(id)):
                self._deleted.append(id)
            self._search()

    async def _change(self, id: str, write: Callable[[History], object]) -> bool:
        """Whether that was done; if not, why is shown."""
        try:
            await wrap_future(self._session.store.change(id, write))
        except MmtuiError as error:
            self._tell(error)
            return False
        return True

    def _tell(self, error: MmtuiError) -> None:
        notice = Notice(str(error), error.hint)
        self.notify(notice.lines, severity="error", markup=False)

    def _chosen(self) -> Summary | None:
        at = self.query_one(OptionList).highlighted
        return self._found[at] if at is not None and at < len(self._found) else None

    def _search(self) -> None:
        self._searching = self.find(self.query_one(Input).value)

    @work
    async def find(self, words: str) -> None:
        """Search, and show what is found unless something else is searched for by then."""
        try:
            found = await wrap_future(self._session.store.search(words, SHOWN))
        except MmtuiError as error:
            self._tell(error)
        else:
            if words == self.query_one(Input).value:
                self._show(found, words)

    def _show(self, found: list[Summary], words: str) -> None:
        options = self.query_one(OptionList)
        at = options.highlighted
        self._found = found
        options.clear_options()
        options.add_options([Option(_line(found), found.id) for found in self._found])
        if self._found and at is not None:
            options.highlighted = min(at, len(self._found) - 1)
        nothing = "No conversation found" if words else "No conversations yet"
        self.query_one("#none", Static).update("" if self._found else nothing)


def _line(found: Summary) -> Content:
    when = found.updated.astimezone()
    pictures = f"  ▣ {len(found.pictures)}" if found.pictures else ""
    line = Content.assemble(
        (f"{when:%d %b %Y %H:%M}  ", "dim"), one_line(found.title), (pictures, "$accent")
    )
    if not found.snippet:
        return line
    return Content("\n").join([line, Content.styled(f"    {one_line(found.snippet)}", "dim")])
