"""What was said, the newest at the end."""

import gc
from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.events import Click
from textual.message import Message as TextualMessage
from textual.widgets import Static

from mmtui.chat.conversation import Conversation, Message
from mmtui.frontends.tui.widgets.chips import Find
from mmtui.frontends.tui.widgets.culling import Culling
from mmtui.frontends.tui.widgets.message_view import MessageView

SHOWN = 20  # messages that are shown at once: each takes some widgets, which all are laid out


class Earlier(Static, can_focus=True):
    """Stands for the messages before those that are shown."""

    BINDINGS: ClassVar = [Binding("enter", "show", "show earlier messages", id="earlier")]

    class Requested(TextualMessage):
        """The user wants to read them."""

    def __init__(self, count: int) -> None:
        super().__init__(f"↑ {count} earlier messages; Enter or a click shows them", markup=False)

    def action_show(self) -> None:
        self.post_message(self.Requested())

    @on(Click)
    def _clicked(self) -> None:
        self.action_show()


class Transcript(VerticalScroll, can_focus=False):
    """The view follows the end, unless the user scrolled up.

    While it does, what is more than a screen above is folded: a layout takes everything that is
    displayed, seen or not, and an answer would come in jerks.
    """

    def __init__(self, find: Find) -> None:
        super().__init__(id="transcript")
        self._find = find
        self._earlier: list[Message] = []
        self._conversation = Conversation()
        self._culling = Culling()

    async def show(self, conversation: Conversation) -> None:
        """The branch that is read; at its end."""
        self._conversation = conversation
        await self.remove_children()
        self._culling = Culling()
        thread = conversation.thread
        self._earlier = thread[:-SHOWN]
        await self._offer_earlier()
        await self.add(*thread[-SHOWN:])

    async def add(self, *messages: Message) -> None:
        await self.mount_all(self._views(messages))
        self.anchor()

    def on_resize(self) -> None:
        self._culling.open()

    def watch_virtual_size(self) -> None:
        if self.virtual_size.height > self._culling.bottom + 3 * self.size.height:
            self.call_after_refresh(self._cull_above)

    def _cull_above(self) -> None:
        if self.is_vertical_scroll_end and (views := self._shown):
            self._culling.close(self, [views, views[-1].blocks])

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if new_value - self.size.height < self._culling.bottom:
            self._culling.open()

    def page(self, by: int) -> None:
        """Above what is shown there may be more."""
        if by < 0 and self.scroll_y == 0 and self._earlier:
            self.post_message(Earlier.Requested())
        else:
            (self.action_page_up if by < 0 else self.action_page_down)()

    def view(self, message: Message | None) -> MessageView | None:
        return next((view for view in self._shown if view.message is message), None)

    @property
    def _shown(self) -> list[MessageView]:
        """Without a query, which would match all that is in them, for each token."""
        return [child for child in self.children if isinstance(child, MessageView)]

    @on(Earlier.Requested)
    async def _show_earlier(self, event: Earlier.Requested) -> None:
        event.stop()
        first = self._shown[0]
        messages, self._earlier = self._earlier[-SHOWN:], self._earlier[:-SHOWN]
        self.release_anchor()
        await self.mount_all(self._views(messages), before=first)
        await self.query(Earlier).remove()
        await self._offer_earlier()
        self.call_after_refresh(first.scroll_visible, animate=False, top=True)
        self.call_after_refresh(gc.collect, 1)  # what mounting left over

    async def _offer_earlier(self) -> None:
        if self._earlier:
            await self.mount(Earlier(len(self._earlier)), before=0 if self.children else None)

    def _views(self, messages: Sequence[Message]) -> list[MessageView]:
        find, place = self._find, self._conversation.version
        return [MessageView(message, find, place(message.id)) for message in messages]
