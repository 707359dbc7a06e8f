"""Keys, pastes and clicks, in the order in which they came, however fast that was."""

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

PATIENCE_S = 5.0  # with a widget that hangs: the keyboard must not hang with it


class InputQueue:
    """Hands each event to the app when the one before it has been dealt with.

    Textual inserts a letter in the task of the text field, but runs the binding of a key in the
    task of the app: before the field has seen the letters typed earlier, or after it has seen
    those typed later. Letters alone keep their order, and do not wait for each other.
    """

    def __init__(self, app: App[Any], handle: Callable[[Event], Awaitable[None]]) -> None:
        """`handle` is what the app does with an event by itself."""
        self._app, self._handle = app, handle
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def put(self, event: Event) -> None:
        self._events.put_nowait(_inserted(event))

    async def wait_until_empty(self) -> None:
        """Wait until everything that was put in has been dealt with."""
        await self._events.join()

    async def run(self) -> None:
        """Work until cancelled."""
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
            await self._settled()
        self._focus_field(event)
        is_typing = is_text(event) and isinstance(self._app.focused, TextArea | Input)
        await self._handle(event)
        if not is_typing:
            await self._settled()

    def _focus_field(self, event: Event) -> None:
        """Whatever has the focus, what is typed goes to the screen's text field.

        So do keys that mean nothing where the focus is: Backspace follows the letters.
        """
        screen = self._app.screen
        if isinstance(self._app.focused, TextArea | Input):
            return
        is_bound = isinstance(event, Key) and event.key in screen.active_bindings
        if is_text(event) or (isinstance(event, Key) and not is_bound):
            field = next(iter(screen.query("TextArea, Input").results(Widget)), None)
            if field is not None:
                screen.set_focus(field)

    async def _settled(self) -> None:
        """Wait until the focused widget and its ancestors have handled all their messages."""
        for _ in range(2):  # and those that the first ones led to, such as Input.Submitted
            for node in (self._app.focused or self._app.screen).ancestors_with_self:
                await _idle(node)


def is_text(event: Event) -> bool:
    """Whether an event puts text where the cursor is."""
    return isinstance(event, Paste) or (isinstance(event, Key) and event.is_printable)


def _inserted(event: Event) -> Event:
    """Wide and no-break spaces and joiners are no keys to Textual; pasted, they are inserted."""
    character = event.character if isinstance(event, Key) and not is_text(event) else None
    return Paste(character) if character and character > "\x7f" and printable(character) else event


async def _idle(node: DOMNode) -> None:
    """Wait for a node to handle the messages that it has now."""
    handled = asyncio.Event()
    if node.call_later(handled.set):
        with suppress(TimeoutError):
            await asyncio.wait_for(handled.wait(), PATIENCE_S)
