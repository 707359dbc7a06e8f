"""The screen that shows a picture, and what the model gets of it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from mmtui.chat.conversation import Attachment
from mmtui.frontends.tui.hints import show_hints
from mmtui.frontends.tui.screens.picture_text import PictureTextScreen
from mmtui.frontends.tui.widgets.thumbnail import LargePicture
from mmtui.text import one_line

if TYPE_CHECKING:
    from mmtui.pipeline.assets.spec import VisionSpec


class PictureScreen(ModalScreen[None]):
    """Shows a picture as large as possible."""

    CSS_PATH = "picture.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar = [
        Binding("escape,space,enter,q", "dismiss", "Back"),
        Binding("t", "read", "Text"),
        Binding("s", "save", "Save"),
    ]

    def __init__(
        self,
        file: Path,
        attachment: Attachment,
        vision: "VisionSpec | None",
        tokens: int,
        save: Callable[[], None],
    ) -> None:
        """Create the screen.

        Args:
            file: The picture.
            attachment: Its name and size.
            vision: How the picture is resized for the model; None shows only the picture.
            tokens: How many tokens of the context the picture takes.
            save: Saves a copy of the picture where the user wants it.
        """
        super().__init__()
        self._file, self._attachment, self._vision, self._tokens = file, attachment, vision, tokens
        self._save = save

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_hints)

    def _show_hints(self) -> None:
        dialog = self.query_one("PictureScreen > Vertical")
        show_hints(dialog, "T shows the text in it", "S saves a copy", "Esc closes")

    def action_read(self) -> None:
        """Show the text in the picture."""
        self.app.push_screen(PictureTextScreen(self._file, self._attachment))

    def action_save(self) -> None:
        """Ask for a folder, and save a copy of the picture there."""
        self._save()

    def compose(self) -> ComposeResult:
        attachment = self._attachment
        with Vertical() as dialog:
            dialog.border_title = Content(f"{one_line(attachment.name)}, {attachment.detail}")
            with Horizontal():
                with Vertical(classes="side", id="original"):
                    yield Static("Picture", markup=False)
                    yield LargePicture(self._file)
                if vision := self._vision:
                    with Vertical(classes="side", id="model-input"):
                        cost = f", {self._tokens} tokens" if self._tokens else ""
                        side = vision.image_size
                        yield Static(f"Model input: {side} x {side}{cost}", markup=False)
                        yield LargePicture(self._file, vision)
