"""The messages of a conversation, the newest at the end."""

import gc
from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.events import Click
from textual.message import Message as TextualMessage
from textual.widget import Widget
from textual.widgets import Static

from mmtui.chat.conversation import Conversation, Message
from mmtui.frontends.tui.widgets.chips import FindFile
from mmtui.frontends.tui.widgets.culling import Culling
from mmtui.frontends.tui.widgets.message_view import MessageView

PAGE_SIZE = 20  # messages that are mounted at once; each has several widgets to lay out


class Earlier(Static, can_focus=True):
    """A button that shows earlier messages."""

    BINDINGS: ClassVar = [Binding("enter", "show", "show earlier messages", id="earlier")]

    class Requested(TextualMessage):
        """The user wants to see earlier messages."""

    def __init__(self, count: int) -> None:
        """Create the button for a number of earlier messages."""
        super().__init__(f"↑ {count} earlier messages (Enter or click to show)", markup=False)

    def action_show(self) -> None:
        """Request the earlier messages."""
        self.post_message(self.Requested())

    @on(Click)
    def _handle_click(self) -> None:
        self.action_show()


class Later(Static, can_focus=True):
    """A button that shows later messages, after the view jumped to an earlier one."""

    BINDINGS: ClassVar = [Binding("enter", "show", "show later messages", id="later")]

    class Requested(TextualMessage):
        """The user wants to see later messages."""

    def __init__(self, count: int) -> None:
        """Create the button for a number of later messages."""
        super().__init__(f"↓ {count} later messages (Enter or click to show)", markup=False)

    def action_show(self) -> None:
        """Request the later messages."""
        self.post_message(self.Requested())

    @on(Click)
    def _handle_click(self) -> None:
        self.action_show()


class Transcript(VerticalScroll, can_focus=False):
    """A scroll view that follows the end, unless the user has scrolled up.

    While it does, widgets that are more than half a screen above are culled, because the time of a
    layout grows with all displayed widgets, and streaming would not be smooth.
    """

    BLANK = True  # it draws only its background

    def __init__(self, find: FindFile) -> None:
        """Create an empty transcript. `find` returns the file of an attachment."""
        super().__init__(id="transcript")
        self._find = find
        self._earlier: list[Message] = []
        self._later: list[Message] = []
        self._conversation = Conversation()
        self._culling = Culling()

    async def show(self, conversation: Conversation) -> None:
        """Show the end of the current branch of a conversation."""
        self._conversation = conversation
        await self._show_page(len(conversation.thread))
        self.anchor()

    async def add(self, *messages: Message) -> None:
        """Add messages, which are at the end of the branch already, and scroll to the end."""
        if self._later:
            await self._show_page(len(self._conversation.thread))
        else:
            await self.mount_all(self._make_views(messages))
        self.anchor()

    async def reveal(self, message: Message) -> MessageView:
        """Return the view of a message of the current branch; show the messages around it first.

        Everything is displayed then, and the view no longer follows the end.
        """
        if (view := self.find_view(message)) is None:
            index = self._conversation.thread.index(message)
            await self._show_page(index + PAGE_SIZE // 2)
            view = next(view for view in self._views if view.message is message)
        self.release_anchor()
        self._culling.show_all()
        self.thaw()
        return view

    def thaw(self) -> None:
        """Let marks in a reply that is being written be seen at once."""
        for view in self._views:
            view.thaw()

    def scroll_to_line(self, widget: Widget, line: int) -> None:
        """Scroll until a line of a widget is in the middle of the view."""
        top = widget.region.y - self.content_region.y + self.scroll_offset.y
        self.scroll_to(y=top + line - self.size.height // 2, animate=False, immediate=True)

    def on_resize(self) -> None:
        self._culling.show_all()
        if self.is_anchored:
            self.refresh(layout=True)  # the layout used the height before

    def watch_virtual_size(self) -> None:
        if self.virtual_size.height > self._culling.bottom + 2 * self.size.height:
            self.call_after_refresh(self._cull_above)

    def _cull_above(self) -> None:
        if self.is_vertical_scroll_end and (views := self._views):
            self._culling.hide_above(self, [views, views[-1].blocks])

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if new_value - self.size.height // 4 < self._culling.bottom:
            self._culling.show_all()

    def scroll_page(self, direction: int) -> None:
        """Scroll up (-1) or down (1) by a page; at the top, show earlier messages."""
        if direction < 0 and self.scroll_y == 0 and self._earlier:
            self.post_message(Earlier.Requested())
        elif direction < 0:
            self.action_page_up()
        elif not self.is_vertical_scroll_end:
            self.action_page_down()
        elif self._later:
            self.post_message(Later.Requested())
        else:
            self.anchor()  # a page down at the end would release it

    def find_view(self, message: Message | None) -> MessageView | None:
        """Return the view of a message, if it is shown."""
        return next((view for view in self._views if view.message is message), None)

    def mark(self, message: Message | None, activity: str) -> None:
        """Show what is done with a message, such as "reading aloud"; "" removes the mark."""
        if message is not None and (view := self.find_view(message)):
            view.show_note(activity)

    @property
    def _views(self) -> list[MessageView]:
        # A query would also search the descendants of each view, for every token.
        return [child for child in self.children if isinstance(child, MessageView)]

    @on(Earlier.Requested)
    async def _show_earlier(self, event: Earlier.Requested) -> None:
        event.stop()
        first = self._views[0]
        messages, self._earlier = self._earlier[-PAGE_SIZE:], self._earlier[:-PAGE_SIZE]
        self.release_anchor()
        await self.mount_all(self._make_views(messages), before=first)
        await self.query(Earlier).remove()
        await self._mount_earlier()
        self.call_after_refresh(first.scroll_visible, animate=False, top=True)
        self.call_after_refresh(gc.collect, 1)  # garbage of mounting

    @on(Later.Requested)
    async def _show_later(self, event: Later.Requested) -> None:
        event.stop()
        messages, self._later = self._later[:PAGE_SIZE], self._later[PAGE_SIZE:]
        await self.query(Later).remove()
        await self.mount_all(self._make_views(messages))
        await self._mount_later()

    async def _show_page(self, end: int) -> None:
        """Show the messages before an index of the current branch."""
        thread = self._conversation.thread
        start = max(min(end, len(thread)) - PAGE_SIZE, 0)
        self._earlier, self._later = thread[:start], thread[start + PAGE_SIZE :]
        await self.remove_children()
        self._culling = Culling()
        await self._mount_earlier()
        await self.mount_all(self._make_views(thread[start : start + PAGE_SIZE]))
        await self._mount_later()

    async def _mount_earlier(self) -> None:
        if self._earlier:
            await self.mount(Earlier(len(self._earlier)), before=0 if self.children else None)

    async def _mount_later(self) -> None:
        if self._later:
            await self.mount(Later(len(self._later)))

    def _make_views(self, messages: Sequence[Message]) -> list[MessageView]:
        get_version = self._conversation.version
        return [MessageView(each, self._find, get_version(each.id)) for each in messages]
