"""A picture, large, and as the model sees it."""

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from mmtui.chat.conversation import Attachment
from mmtui.frontends.tui.widgets.thumbnail import LargePicture
from mmtui.text import one_line


class PictureScreen(ModalScreen[None]):
    CSS_PATH = "picture.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar = [Binding("escape,space,enter,q", "dismiss", "Back")]

    def __init__(self, file: Path, attachment: Attachment, side: int, tokens: int) -> None:
        """`side`: pixels that the model sees; `tokens`: what a picture costs it."""
        super().__init__()
        self._file, self._attachment, self._side, self._tokens = file, attachment, side, tokens

    def compose(self) -> ComposeResult:
        file = self._attachment
        with Vertical():
            yield Static(f"{one_line(file.name)}, {file.detail}   (Esc closes)", markup=False)
            with Horizontal():
                with Vertical(classes="side", id="whole"):
                    yield Static("Picture", markup=False)
                    yield LargePicture(self._file)
                if side := self._side:
                    with Vertical(classes="side", id="seen"):
                        cost = f", {self._tokens} tokens" if self._tokens else ""
                        said = f"As the model sees it: {side} x {side}{cost}"
                        yield Static(said, markup=False)
                        yield LargePicture(self._file, side)
