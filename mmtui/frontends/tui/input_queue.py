"""Handle keys, pastes and clicks in the order in which they arrive, however fast."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from textual.app import App
from textual.dom import DOMNode
from textual.events import Event, Key, MouseDown, MouseUp, Paste
from textual.widget import Widget
from textual.widgets import Input, TextArea

from mmtui.text import printable

TIMEOUT_S = 5.0  # for a widget to handle its messages; a hanging widget must not block all input


class InputQueue:
    """Passes each event to the app when the event before it has been handled.

    Textual inserts a character in the task of the text field, but runs the binding of a key in the
    task of the app. So a binding could run before characters that were typed earlier are inserted,
    or after characters that were typed later. Consecutive characters keep their order in any case,
    and are not delayed.
    """

    def __init__(self, app: App[Any], handle: Callable[[Event], Awaitable[None]]) -> None:
        """Create the queue. `handle` is Textual's own handler of events in the app."""
        self._app, self._handle = app, handle
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def put(self, event: Event) -> None:
        """Add an event of the keyboard or the mouse."""
        self._events.put_nowait(_to_paste(event))

    async def wait_until_empty(self) -> None:
        """Wait until all events have been handled."""
        await self._events.join()

    async def run(self) -> None:
        """Handle events until cancelled."""
        while True:
            event = await self._events.get()
            try:
                await self._deliver(event)
            finally:
                self._events.task_done()

    async def _deliver(self, event: Event) -> None:
        if not isinstance(event, Key | Paste | MouseDown | MouseUp):
            await self._handle(event)
            return
        if not is_text(event):
            await self._wait_until_handled()
        self._focus_field(event)
        is_typing = is_text(event) and isinstance(self._app.focused, TextArea | Input)
        await self._handle(event)
        if not is_typing:
            await self._wait_until_handled()

    def _focus_field(self, event: Event) -> None:
        """Focus the text field of the screen if the event is text.

        Keys without a binding where the focus is, such as Backspace, also go to the text field.
        """
        screen = self._app.screen
        if isinstance(self._app.focused, TextArea | Input):
            return
        is_bound = isinstance(event, Key) and event.key in screen.active_bindings
        if is_text(event) or (isinstance(event, Key) and not is_bound):
            field = next(iter(screen.query("TextArea, Input").results(Widget)), None)
            if field is not None:
                screen.set_focus(field)

    async def _wait_until_handled(self) -> None:
        """Wait until the focused widget and its ancestors have handled all their messages."""
        for _ in range(2):  # the second time for messages that the first ones caused
            for node in (self._app.focused or self._app.screen).ancestors_with_self:
                await _wait_until_idle(node)


def is_text(event: Event) -> bool:
    """Return whether an event inserts text."""
    return isinstance(event, Paste) or (isinstance(event, Key) and event.is_printable)


def _to_paste(event: Event) -> Event:
    """Turn characters that Textual ignores as keys, such as no-break spaces, into pastes."""
    character = event.character if isinstance(event, Key) and not is_text(event) else None
    return Paste(character) if character and character > "\x7f" and printable(character) else event


async def _wait_until_idle(node: DOMNode) -> None:
    """Wait until a node has handled the messages in its queue, or for TIMEOUT_S."""
    handled = asyncio.Event()
    if node.call_later(handled.set):
        with suppress(TimeoutError):
            await asyncio.wait_for(handled.wait(), TIMEOUT_S)
