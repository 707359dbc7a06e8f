"""The screen that shows the text of a document."""

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from mmtui.chat.conversation import Attachment
from mmtui.text import one_line, printable

MAX_CHARACTERS = 100_000  # that are shown


class DocumentScreen(ModalScreen[None]):
    """Shows what the model gets of a document, or all of its text before it is sent."""

    CSS_PATH = "document.tcss"
    BINDINGS: ClassVar = [Binding("escape,space,enter,q", "dismiss", "Back")]

    def __init__(self, file: Path, attachment: Attachment) -> None:
        """Create the screen.

        Args:
            file: The stored text of the document.
            attachment: Its name, its length, and what is in the prompt.
        """
        super().__init__()
        self._file, self._attachment = file, attachment

    def compose(self) -> ComposeResult:
        attachment = self._attachment
        with VerticalScroll() as dialog:
            dialog.border_title = Content(f"{one_line(attachment.name)}, {attachment.detail}")
            dialog.border_subtitle = "Esc closes"
            text = attachment.transcript or self._read()
            yield Static(printable(text[:MAX_CHARACTERS]), markup=False)

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def _read(self) -> str:
        with self._file.open(encoding="utf-8") as file:
            return file.read(MAX_CHARACTERS).replace("\f", "\n\n")
