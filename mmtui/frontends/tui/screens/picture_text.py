"""The screen that shows the text in a picture."""

from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from mmtui.chat.conversation import Attachment
from mmtui.errors import MmtuiError
from mmtui.text import one_line, printable


class PictureTextScreen(ModalScreen[None]):
    """Recognizes the text in a picture, in a thread, and shows it."""

    CSS_PATH = "picture_text.tcss"
    BINDINGS: ClassVar = [
        Binding("escape,space,enter,q", "dismiss", "Back"),
        Binding("c", "copy", "Copy"),
    ]

    def __init__(self, file: Path, attachment: Attachment) -> None:
        """Create the screen.

        Args:
            file: The picture.
            attachment: Its name and size.
        """
        super().__init__()
        self._file, self._attachment = file, attachment
        self._text = ""

    def compose(self) -> ComposeResult:
        with VerticalScroll() as dialog:
            dialog.border_title = Content(f"Text in {one_line(self._attachment.name)}")
            dialog.border_subtitle = "C copies, Esc closes"
            yield Static("reading ...", markup=False)

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()
        self._read()

    def action_copy(self) -> None:
        """Copy the text."""
        if self._text:
            self.app.copy_to_clipboard(self._text)

    @work(thread=True)
    def _read(self) -> None:
        """Read the picture; the result is dropped if the screen was closed in the meantime."""
        from mmtui.pipeline.input_files import read_picture
        from mmtui.pipeline.reading.picture_text import read_text

        try:
            found = read_text(read_picture(self._file)).text
        except MmtuiError as error:
            self.app.call_from_thread(self._show, f"error: {error}")
            return
        self._text = found
        self.app.call_from_thread(self._show, found or "no text found")

    def _show(self, text: str) -> None:
        if self.is_attached:
            self.query_one(Static).update(Content(printable(text)))
