"""Attachments that go with the next message, or went with an earlier one."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, HorizontalScroll
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.widgets import Static

from mmtui.chat.conversation import Attachment
from mmtui.chat.text import one_line
from mmtui.tui.widgets.thumbnail import Thumbnail

Find = Callable[[Attachment], Path]


class Chip(Horizontal, can_focus=True):
    """A thumbnail, a name and a size. Space or a click opens it, Delete takes it off."""

    BINDINGS: ClassVar = [
        Binding("space,enter", "open", "Look at it", id="open_chip"),
        Binding("delete,backspace", "remove", "Take it off", id="remove_chip"),
    ]

    class Opened(Message):
        def __init__(self, attachment: Attachment) -> None:
            super().__init__()
            self.attachment = attachment

    class Removed(Message):
        def __init__(self, chip: "Chip") -> None:
            super().__init__()
            self.chip = chip

    def __init__(self, attachment: Attachment, find: Find, removable: bool) -> None:
        super().__init__(classes="chip")
        self.attachment = attachment
        self._find, self._removable = find, removable

    def compose(self) -> ComposeResult:
        file = self.attachment
        if file.kind == "image":
            yield Thumbnail(self._find(file), 3)
        icon = "♪ " if file.kind == "audio" else ""
        heard = f"\n“{one_line(file.transcript)}”" if file.transcript else ""
        yield Static(
            Content(f"{icon}{one_line(file.name)}\n{file.detail} · {_size(file.size)}{heard}"),
            classes="chip--label",
        )
        if self._removable:
            yield Static("✕", classes="chip--remove")

    def action_open(self) -> None:
        self.post_message(self.Opened(self.attachment))

    def action_remove(self) -> None:
        if self._removable:
            self.post_message(self.Removed(self))

    @on(Click)
    def _clicked(self, event: Click) -> None:
        event.stop()
        is_remove = event.widget is not None and event.widget.has_class("chip--remove")
        self.post_message(self.Removed(self) if is_remove else self.Opened(self.attachment))


class Chips(HorizontalScroll):
    """Several of them in a row; out of sight while there is none."""

    DEFAULT_CSS = "Chips { display: none; height: auto; } Chips.-some { display: block; }"

    def __init__(self, find: Find, removable: bool = False) -> None:
        super().__init__()
        self._find, self._removable = find, removable
        self._attachments: list[Attachment] = []

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        return tuple(self._attachments)

    async def add(self, attachment: Attachment) -> None:
        self._attachments.append(attachment)
        self.set_class(True, "-some")
        await self.mount(Chip(attachment, self._find, self._removable))

    async def clear(self) -> None:
        self._attachments.clear()
        self.set_class(False, "-some")
        await self.remove_children()

    @on(Chip.Removed)
    async def _take_off(self, event: Chip.Removed) -> None:
        self._attachments.remove(event.chip.attachment)
        self.set_class(bool(self._attachments), "-some")
        await event.chip.remove()


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(size / 1e3, 0.1):.1f} kB"
