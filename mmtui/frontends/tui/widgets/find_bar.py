"""The field that finds words in the conversation and marks them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message as TextualMessage
from textual.widgets import Input, Static

from mmtui.chat.conversation import Conversation, Message
from mmtui.chat.finding import Hit, find_hits
from mmtui.chat.history.search import find_spans, fold
from mmtui.frontends.tui.widgets.text_fields import LineField
from mmtui.frontends.tui.widgets.transcript import Transcript

HIT_STYLE = "$text-warning on $warning-muted"
CURRENT_STYLE = "bold reverse $text-warning on $warning-muted"


class FindBar(Horizontal):
    """Finds words, from the last message on. The hits are marked until the bar is closed."""

    BINDINGS: ClassVar = [
        Binding("enter,up", "move(-1)", "go to the previous hit", id="find_before", priority=True),
        Binding(
            "shift+enter,down", "move(1)", "go to the next hit", id="find_after", priority=True
        ),
    ]

    class Found(TextualMessage):
        """A search has finished."""

        def __init__(self, words: str, hits: list[Hit]) -> None:
            super().__init__()
            self.words, self.hits = words, hits

    def __init__(
        self, transcript: Transcript, get_conversation: Callable[[], Conversation]
    ) -> None:
        """Create the bar, which is hidden until it is opened.

        Args:
            transcript: Shows the messages.
            get_conversation: Returns the conversation that is shown.
        """
        super().__init__(id="find")
        self.display = False
        self._transcript, self._get_conversation = transcript, get_conversation
        self._field = LineField(placeholder="Find in this conversation", compact=True)
        self._count = Static("", id="find-count")
        self._hits: list[Hit] = []
        self._index = 0
        self._marked: dict[Static, tuple[Content, Content]] = {}  # without and with marks

    def compose(self) -> ComposeResult:
        yield Static("Find ", id="find-label")
        yield self._field
        yield self._count

    def open(self, words: str = "") -> None:
        """Find words, by default those in the field again."""
        self.display = True
        self._field.focus()
        if words and words != self._field.value:
            self._field.value = words  # which is searched, because it has changed
        else:
            self.search()
        self._field.select_all()

    def close(self) -> None:
        """Hide the bar and remove the marks."""
        self.display = False
        self._remove_marks()

    def search(self) -> None:
        """Search again if the bar is open, as after the conversation has changed."""
        if not self.display:
            return
        thread = [replace(message) for message in self._get_conversation().thread]
        self._search_in_thread(self._field.value, thread)

    async def action_move(self, direction: int) -> None:
        """Go to the next hit in a direction: -1 is up; after the first one follows the last."""
        if self._hits:
            self._index = (self._index + direction) % len(self._hits)
            await self._show_current()

    @on(Input.Changed)
    def _search_again(self, event: Input.Changed) -> None:
        event.stop()
        self.search()

    @work(thread=True, exclusive=True, name="find", group="find")
    def _search_in_thread(self, words: str, messages: Sequence[Message]) -> None:
        self.post_message(self.Found(words, find_hits(messages, words)))

    @on(Found)
    async def _show_found(self, event: Found) -> None:
        event.stop()
        if self.display and event.words == self._field.value:  # else it is outdated
            self._hits, self._index = event.hits, len(event.hits) - 1
            await self._show_current()

    async def _show_current(self) -> None:
        """Mark the hits of all messages that are displayed, and scroll to the current one."""
        found = f"{self._index + 1} of {len(self._hits)}" if self._hits else "not found"
        self._count.update(found if self._field.value.strip() else "")
        self._remove_marks()
        if not self._hits:
            return
        current = self._hits[self._index]
        by_id = {message.id: message for message in self._get_conversation().thread}
        if (message := by_id.get(current.message)) is None:
            return  # the conversation has changed, and is searched again
        await self._transcript.reveal(message)
        phrase = fold(self._field.value)
        for id in {hit.message for hit in self._hits} & by_id.keys():
            place = self._mark(by_id[id], phrase, current.number if id == current.message else None)
            if place is not None and place[0].region:
                self._scroll(*place)
            elif place is not None:
                self.call_after_refresh(self._scroll, *place)

    def _mark(
        self, message: Message, phrase: str, current: int | None
    ) -> tuple[Static, int] | None:
        """Mark the hits of a message, and return where the current one starts."""
        if (view := self._transcript.find_view(message)) is None:
            return None
        place: tuple[Static, int] | None = None
        number = 0
        for widget in view.texts:
            text = widget.content if isinstance(widget.content, Content) else None
            text = text or Content(str(widget.content))
            marked = text
            for start, end in find_spans(text.plain, phrase):
                is_current = number == current
                marked = marked.stylize(CURRENT_STYLE if is_current else HIT_STYLE, start, end)
                if current is not None and number <= current:
                    place = widget, start
                number += 1
            if marked is not text:
                self._marked[widget] = text, marked
                widget.update(marked, layout=False)
        return place

    def _scroll(self, widget: Static, start: int) -> None:
        length = max(len(self._marked[widget][0].plain), 1) if widget in self._marked else 1
        self._transcript.scroll_to_line(widget, widget.size.height * start // length)

    def _remove_marks(self) -> None:
        if self._marked:
            self._transcript.thaw()
        for widget, (text, marked) in self._marked.items():
            if widget.is_attached and widget.content is marked:  # else it was rewritten
                widget.update(text, layout=False)
        self._marked.clear()
