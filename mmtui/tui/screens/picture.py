"""A picture, large, and as the model sees it."""

from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from mmtui.chat.attachments import as_seen
from mmtui.chat.conversation import Attachment
from mmtui.chat.text import one_line
from mmtui.errors import InputError
from mmtui.tui.widgets.thumbnail import Thumbnail


class PictureScreen(ModalScreen[None]):
    DEFAULT_CSS = """
    PictureScreen { align: center middle; }
    PictureScreen > Vertical { width: 96%; height: 90%; padding: 1 2; background: $surface; border: round $primary; }
    PictureScreen Horizontal { height: 1fr; }
    PictureScreen .side { width: 1fr; height: 100%; overflow: hidden; }
    """  # noqa: E501
    BINDINGS: ClassVar = [Binding("escape,space,enter,q", "dismiss", "Back")]

    def __init__(self, file: Path, attachment: Attachment, side: int, tokens: int) -> None:
        """`side`: pixels that the model sees; `tokens`: what a picture costs it."""
        super().__init__()
        self._file, self._attachment, self._side, self._tokens = file, attachment, side, tokens

    def compose(self) -> ComposeResult:
        file = self._attachment
        with Vertical():
            yield Static(f"{one_line(file.name)}, {file.detail}   (Esc goes back)", markup=False)
            with Horizontal():
                yield Vertical(Static("the picture", markup=False), classes="side", id="whole")
                if self._side:
                    seen = (
                        f"as the model sees it: {self._side} x {self._side}, {self._tokens} tokens"
                    )
                    yield Vertical(Static(seen, markup=False), classes="side", id="seen")

    def on_mount(self) -> None:
        rows = max(self.size.height * 9 // 10 - 7, 4)
        self.query_one("#whole").mount(Thumbnail(self._file, rows))
        if self._side:
            self._look(rows)

    @work(thread=True)
    def _look(self, rows: int) -> None:
        try:
            image = as_seen(self._file, self._side)
        except InputError:
            return  # the other side tells why
        self.app.call_from_thread(self._show, Thumbnail(image, rows))

    def _show(self, seen: Thumbnail) -> None:
        self.query_one("#seen").mount(seen)
