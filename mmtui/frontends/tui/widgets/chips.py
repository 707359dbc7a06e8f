"""Attachments that go with the next message, or went with an earlier one."""

from collections.abc import Callable
from contextlib import suppress
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
from mmtui.errors import InputError
from mmtui.frontends.tui.widgets.thumbnail import Thumbnail
from mmtui.text import one_line

Find = Callable[[Attachment], Path]


class Chip(Horizontal, can_focus=True):
    """A thumbnail, a name and a size. Enter or a click opens it, Delete takes it off."""

    FOCUS_ON_CLICK = False  # a click does it all, and Delete still belongs to the prompt
    BINDINGS: ClassVar = [
        Binding("enter", "open", "open picture or play recording", id="open_chip"),
        Binding("ctrl+e", "transcribe", "transcribe again", id="hear_chip"),
        Binding("delete", "remove", "remove", id="remove_chip"),
    ]

    class Opened(Message):
        def __init__(self, attachment: Attachment) -> None:
            super().__init__()
            self.attachment = attachment

    class TranscribeAgain(Message):
        def __init__(self, chip: "Chip") -> None:
            super().__init__()
            self.chip = chip

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
            with suppress(InputError):  # it is gone; opening it tells so
                yield Thumbnail(self._find(file), 3)
        yield Static(self._label(), classes="chip--label")
        if self._removable:
            yield Static("✕", classes="chip--remove")

    def update_attachment(self, attachment: Attachment) -> None:
        """The same recording, heard anew."""
        self.attachment = attachment
        if self.is_attached:  # it may have been taken off, or sent, meanwhile
            self.query_one(".chip--label", Static).update(self._label())

    def _label(self) -> Content:
        file = self.attachment
        icon = "♪ " if file.kind == "audio" else ""
        heard = f"\n“{one_line(file.transcript)}”" if file.transcript else ""
        return Content(f"{icon}{one_line(file.name)}\n{file.detail} · {_size(file.size)}{heard}")

    def action_transcribe(self) -> None:
        if self.attachment.kind == "audio":
            self.post_message(self.TranscribeAgain(self))

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

    class Changed(Message):
        """Posted when an attachment of the next message was added or removed."""

    DEFAULT_CSS = "Chips { display: none; height: auto; } Chips.-some { display: block; }"

    def __init__(self, find: Find, removable: bool = False) -> None:
        super().__init__()
        self._find, self._removable = find, removable

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        return tuple(chip.attachment for chip in self.query(Chip))

    async def add(self, attachment: Attachment) -> None:
        self.set_class(True, "-some")
        await self.mount(Chip(attachment, self._find, self._removable))
        self._post_changed()

    async def clear(self) -> None:
        self.set_class(False, "-some")
        await self.remove_children()
        self._post_changed()

    @on(Chip.Removed)
    async def _take_off(self, event: Chip.Removed) -> None:
        await event.chip.remove()
        self.set_class(bool(self.attachments), "-some")
        self._post_changed()

    def _post_changed(self) -> None:
        if self._removable:  # those of a sent message stay as they are
            self.post_message(self.Changed())


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(size / 1e3, 1):.0f} kB"
