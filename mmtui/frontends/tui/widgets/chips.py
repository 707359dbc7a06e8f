"""Chips that show the attachments of the next message or of a sent one."""

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

FindFile = Callable[[Attachment], Path]


class Chip(Horizontal, can_focus=True):
    """A thumbnail with name and size. Enter or a click opens the file, Delete removes the chip."""

    FOCUS_ON_CLICK = False  # the prompt keeps the focus, and with it the Delete key
    BINDINGS: ClassVar = [
        Binding("enter", "open", "open attachment, or play recording", id="open_chip"),
        Binding("ctrl+x", "read", "show the text in a picture", id="read_chip"),
        Binding("ctrl+s", "save", "save a copy", id="save_chip"),
        Binding("ctrl+e", "transcribe", "transcribe again", id="hear_chip"),
        Binding("delete", "remove", "remove", id="remove_chip"),
    ]

    class Opened(Message):
        """The user wants to see or hear an attachment."""

        def __init__(self, attachment: Attachment) -> None:
            super().__init__()
            self.attachment = attachment

    class ReadRequested(Message):
        """The user wants to see the text in a picture."""

        def __init__(self, attachment: Attachment) -> None:
            super().__init__()
            self.attachment = attachment

    class SaveRequested(Message):
        """The user wants a copy of an attachment in a folder."""

        def __init__(self, attachment: Attachment) -> None:
            super().__init__()
            self.attachment = attachment

    class TranscribeAgain(Message):
        """The user wants a new transcript of a recording."""

        def __init__(self, chip: "Chip") -> None:
            super().__init__()
            self.chip = chip

    class Removed(Message):
        """The user wants to remove an attachment from the next message."""

        def __init__(self, chip: "Chip") -> None:
            super().__init__()
            self.chip = chip

    def __init__(self, attachment: Attachment, find: FindFile, removable: bool) -> None:
        """Create a chip.

        Args:
            attachment: What to show.
            find: Returns the file of an attachment.
            removable: Whether the user can remove the chip.
        """
        super().__init__(classes="chip")
        self.attachment = attachment
        self._find, self._removable = find, removable

    def compose(self) -> ComposeResult:
        file = self.attachment
        if file.kind == "image":
            with suppress(InputError):  # the file is gone, which is reported when it is opened
                yield Thumbnail(self._find(file), 3)
        yield Static(self._label(), classes="chip--label")
        if self._removable:
            yield Static("✕", classes="chip--remove")

    def update_attachment(self, attachment: Attachment) -> None:
        """Show the attachment with a new transcript."""
        self.attachment = attachment
        if self.is_attached:  # it may have been removed or sent in the meantime
            self.query_one(".chip--label", Static).update(self._label())

    def _label(self) -> Content:
        file = self.attachment
        if file.kind == "document":
            return Content(f"¶ {one_line(file.name)}\n{file.detail.replace(', ', chr(10), 1)}")
        icon = "♪ " if file.kind == "audio" else ""
        size = format_size(file.size)
        transcript = f"\n“{one_line(file.transcript)}”" if file.transcript else ""
        return Content(f"{icon}{one_line(file.name)}\n{file.detail} · {size}{transcript}")

    def check_action(self, action: str, _: tuple[object, ...]) -> bool | None:
        """Return whether an action is possible with this attachment; the hints follow this."""
        possible = {
            "read": self.attachment.kind == "image",
            "transcribe": self.attachment.kind == "audio",
            "save": self.attachment.kind != "document",  # of which only the text is stored
            "remove": self._removable,
        }
        return possible.get(action, True)

    def action_transcribe(self) -> None:
        """Request a new transcript."""
        self.post_message(self.TranscribeAgain(self))

    def action_read(self) -> None:
        """Request the text in a picture."""
        self.post_message(self.ReadRequested(self.attachment))

    def action_save(self) -> None:
        """Request to save a copy of a picture or a sound."""
        self.post_message(self.SaveRequested(self.attachment))

    def action_open(self) -> None:
        """Request to open the attachment."""
        self.post_message(self.Opened(self.attachment))

    def action_remove(self) -> None:
        """Request to remove the chip."""
        self.post_message(self.Removed(self))

    @on(Click)
    def _handle_click(self, event: Click) -> None:
        event.stop()
        is_remove = event.widget is not None and event.widget.has_class("chip--remove")
        self.post_message(self.Removed(self) if is_remove else self.Opened(self.attachment))


class Chips(HorizontalScroll):
    """A row of chips, which is hidden while it is empty."""

    class Changed(Message):
        """Posted when an attachment of the next message was added or removed."""

    DEFAULT_CSS = "Chips { display: none; height: auto; } Chips.-not-empty { display: block; }"

    def __init__(self, find: FindFile, removable: bool = False) -> None:
        """Create an empty row; the arguments are those of its chips."""
        super().__init__()
        self._find, self._removable = find, removable
        self._removed: list[list[tuple[int, Attachment]]] = []  # what one key or command removed

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The attachments in this row."""
        return tuple(chip.attachment for chip in self.query(Chip))

    async def add(self, *attachments: Attachment) -> None:
        """Add a chip for each attachment."""
        if attachments:
            self.set_class(True, "-not-empty")
            await self.mount_all(Chip(file, self._find, self._removable) for file in attachments)
            self._post_changed()

    async def clear(self) -> None:
        """Remove all chips."""
        self.set_class(False, "-not-empty")
        self._removed = []
        await self.remove_children()
        self._post_changed()

    async def remove_all(self) -> None:
        """Remove all chips; `restore` adds them again."""
        if attachments := self.attachments:
            removed = [*self._removed, list(enumerate(attachments))]
            await self.clear()
            self._removed = removed

    async def restore(self) -> None:
        """Add the chips that were removed last, at their places; do nothing if there are none."""
        if self._removed:
            self.set_class(True, "-not-empty")
            for index, attachment in self._removed.pop():
                before = index if index < len(self.children) else None
                await self.mount(Chip(attachment, self._find, self._removable), before=before)
            self._post_changed()

    @on(Chip.Removed)
    async def _remove_chip(self, event: Chip.Removed) -> None:
        self._removed.append([(self.children.index(event.chip), event.chip.attachment)])
        await event.chip.remove()
        self.set_class(bool(self.attachments), "-not-empty")
        self._post_changed()

    def _post_changed(self) -> None:
        if self._removable:  # the attachments of a sent message do not change
            self.post_message(self.Changed())


def format_size(size: int) -> str:
    """Return a number of bytes for people, as in "3.2 MB"."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(size / 1e3, 1):.0f} kB"
