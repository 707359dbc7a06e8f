"""Messages that wait until the answer before them is complete."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.widgets import Static

from mmtui.chat.conversation import Draft
from mmtui.frontends.tui.widgets.chips import Chips, FindFile
from mmtui.text import printable

MAX_CHARACTERS = 500  # of a message that are shown


class QueuedMessage(Horizontal, can_focus=True):
    """A message that waits. A click takes it back into the prompt, or removes it on its cross."""

    FOCUS_ON_CLICK = False
    BINDINGS: ClassVar = [
        Binding("enter", "send", "send the waiting messages", id="send_queue"),
        Binding("backspace", "take_back", "edit in the prompt", id="edit_queued"),
        Binding("delete", "remove_queued", "remove", id="remove_queued"),
    ]

    class SendRequested(Message):
        """The user wants the messages that wait to be sent."""

    class TakenBack(Message):
        """The user wants a message back in the prompt."""

        def __init__(self, queued: "QueuedMessage") -> None:
            super().__init__()
            self.queued = queued

    class Removed(Message):
        """The user wants to remove a message."""

        def __init__(self, queued: "QueuedMessage") -> None:
            super().__init__()
            self.queued = queued

    def __init__(self, draft: Draft, find: FindFile) -> None:
        """Create the view of a message; `find` returns the file of an attachment."""
        super().__init__(classes="queued")
        self.draft, self._find = draft, find

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Chips(self._find)
            if text := self.draft.text:
                shown = text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"
                yield Static(printable(shown), markup=False, classes="queued--text")
        yield Static("✕", classes="queued--remove")

    async def on_mount(self) -> None:
        chips = self.query_one(Chips)
        for attachment in self.draft.attachments:
            await chips.add(attachment)

    def action_send(self) -> None:
        """Request to send the messages that wait."""
        self.post_message(self.SendRequested())

    def action_take_back(self) -> None:
        """Request to put the message back into the prompt."""
        self.post_message(self.TakenBack(self))

    def action_remove_queued(self) -> None:
        """Request to remove the message."""
        self.post_message(self.Removed(self))

    @on(Click)
    def _handle_click(self, event: Click) -> None:
        event.stop()
        is_remove = event.widget is not None and event.widget.has_class("queued--remove")
        self.post_message(self.Removed(self) if is_remove else self.TakenBack(self))


class MessageQueue(VerticalScroll, can_focus=False):
    """The messages that wait, the next one first. It is hidden while there are none.

    Attributes:
        is_held: Whether the messages wait for the user, not for an answer.
    """

    DEFAULT_CSS = (
        "MessageQueue { display: none; height: auto; } MessageQueue.-not-empty { display: block; }"
    )

    def __init__(self, find: FindFile) -> None:
        """Create an empty queue; `find` returns the file of an attachment."""
        super().__init__(id="queue")
        self._find = find
        self._title = Static("", id="queue-title")
        self.is_held = False

    def compose(self) -> ComposeResult:
        yield self._title

    @property
    def messages(self) -> list[QueuedMessage]:
        """The messages in their order."""
        return [child for child in self.children if isinstance(child, QueuedMessage)]

    async def add(self, draft: Draft) -> None:
        """Add a message at the end."""
        await self.mount(QueuedMessage(draft, self._find))
        self._update()
        self.scroll_end(animate=False)

    async def remove_message(self, queued: QueuedMessage) -> None:
        """Remove a message."""
        await queued.remove()
        self._update()

    async def clear(self) -> None:
        """Remove all messages."""
        await self.query(QueuedMessage).remove()
        self._update()

    def hold(self, is_held: bool = True) -> None:
        """Keep the messages until the user sends them, or stop doing so."""
        self.is_held = is_held
        self._update()

    @on(QueuedMessage.Removed)
    async def _handle_removed(self, event: QueuedMessage.Removed) -> None:
        await self.remove_message(event.queued)

    def _update(self) -> None:
        count = len(self.messages)
        self.set_class(count > 0, "-not-empty")
        self.is_held = self.is_held and count > 0
        waiting = "1 message waits" if count == 1 else f"{count} messages wait"
        if self.is_held:
            keys = ": Enter sends, Alt+Up takes the last one back"
            title = Content.assemble((waiting, "$text-warning"), keys)
        else:
            title = Content(f"{waiting} for the end of the answer; Alt+Up takes the last one back")
        self._title.update(title)
