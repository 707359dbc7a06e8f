"""Lists of stored conversations, and the pictures of the one that is highlighted."""

from collections.abc import Callable, Sequence

from textual.containers import Horizontal
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from mmtui.chat.conversation import Attachment
from mmtui.chat.history.conversation_index import Summary
from mmtui.errors import MmtuiError
from mmtui.frontends.tui.widgets.chips import FindFile
from mmtui.frontends.tui.widgets.thumbnail import Thumbnail

DRAFT_MARK = "✎"


class ConversationList(OptionList):
    """A list of conversations, whose ids are those of the options."""

    class EndReached(Message):
        """The end of the list is in sight."""

    class Moved(Message):
        """Other conversations are in sight."""

    def __init__(self, id: str, format_row: Callable[[Summary], Content]) -> None:
        """Create an empty list.

        Args:
            id: The id of the widget.
            format_row: Returns what is shown of a conversation.
        """
        super().__init__(id=id, markup=False)
        self._format_row = format_row
        self._summaries: Sequence[Summary] = ()
        self._rows: list[Content] = []

    @property
    def summaries(self) -> Sequence[Summary]:
        """The conversations in the list."""
        return self._summaries

    @property
    def highlighted_summary(self) -> Summary | None:
        """The conversation that is highlighted."""
        at = self.highlighted
        return None if at is None or at >= len(self._summaries) else self._summaries[at]

    @property
    def summaries_in_sight(self) -> list[Summary]:
        """The conversations that are visible, and about as many above and below."""
        top, height, line = self.scroll_offset.y, self.size.height, 0
        found = []
        for summary, row in zip(self._summaries, self._rows, strict=True):
            end = line + row.plain.count("\n") + 1
            if end > top - height and line < top + 2 * height:
                found.append(summary)
            line = end
        return found

    def show(self, summaries: Sequence[Summary]) -> None:
        """Replace the conversations. The same one stays highlighted, or else the same row."""
        before, place = self.highlighted_summary, self.highlighted
        rows = [self._format_row(each) for each in summaries]
        is_same = [each.id for each in summaries] == [each.id for each in self._summaries]
        old_rows, self._summaries, self._rows = self._rows, summaries, rows
        if is_same:
            for at, (old, new) in enumerate(zip(old_rows, rows, strict=True)):
                if old != new:
                    self.replace_option_prompt_at_index(at, new)
            return
        self.clear_options()
        self.add_options([Option(row, each.id) for row, each in zip(rows, summaries, strict=True)])
        if place is not None and summaries:
            ids = [each.id for each in summaries]
            id = before.id if before is not None else ""
            self.highlighted = ids.index(id) if id in ids else min(place, len(summaries) - 1)

    def update_rows(self, is_changed: Callable[[Summary], bool]) -> None:
        """Format the rows of some conversations again."""
        for at, summary in enumerate(self._summaries):
            if is_changed(summary):
                self._rows[at] = self._format_row(summary)
                self.replace_option_prompt_at_index(at, self._rows[at])

    def on_resize(self) -> None:
        self.scroll_to_highlight()
        self.post_message(self.Moved())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.post_message(self.Moved())
        if new_value > old_value and new_value + 2 * self.size.height > self.virtual_size.height:
            self.post_message(self.EndReached())


class PictureStrip(Horizontal):
    """The first pictures of a conversation."""

    def __init__(self, id: str, find: FindFile, count: int, box: Size) -> None:
        """Create an empty strip.

        Args:
            id: The id of the widget.
            find: Returns the file of an attachment.
            count: How many pictures are shown at most.
            box: The space for each of them, in cells.
        """
        super().__init__(id=id)
        self._find, self._count, self._box = find, count, box
        self._summary: Summary | None = None
        self._shown: tuple[str, ...] = ()

    def resize(self, count: int, box: Size) -> None:
        """Show up to `count` pictures, each in a box of cells."""
        if (count, box) != (self._count, self._box):
            self._count, self._box, self._shown = count, box, ()
            self.show(self._summary)

    def show(self, summary: Summary | None) -> None:
        """Show the pictures of a conversation; None shows nothing."""
        self._summary = summary
        pictures = () if summary is None else summary.pictures[: self._count]
        if pictures != self._shown:
            self._shown = pictures
            self.call_later(self._replace, pictures)

    async def _replace(self, pictures: tuple[str, ...]) -> None:
        await self.remove_children()
        for sha256 in pictures:
            try:
                file = self._find(Attachment(sha256, "image", "", 0))
            except MmtuiError:  # the file is gone
                continue
            await self.mount(Thumbnail(file, self._box.height, self._box.width))


def format_marks(summary: Summary, *, with_draft: bool = True) -> str:
    """Return marks after a conversation: for its pictures, and for a message that is not sent."""
    pictures = f"  ▣ {len(summary.pictures)}" if summary.pictures else ""
    return f"{pictures}{f'  {DRAFT_MARK}' if summary.has_draft and with_draft else ''}"
