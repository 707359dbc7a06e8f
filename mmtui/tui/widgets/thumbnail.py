"""A picture in the terminal, by the best way that it has: Kitty graphics, Sixel or half-blocks."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import work
from textual.app import ComposeResult
from textual.containers import Container
from textual.widgets import Static

from mmtui.chat import attachments
from mmtui.chat.text import one_line
from mmtui.errors import InputError
from mmtui.tui.terminal import picture_widget

if TYPE_CHECKING:
    from PIL import Image

SIDE = 320  # pixels of a thumbnail's longer side


class Thumbnail(Container):
    """`rows` high; decoded in a thread, so that nothing waits for it."""

    DEFAULT_CSS = """
    Thumbnail { width: auto; height: auto; }
    Thumbnail > Static { width: auto; }
    """

    def __init__(self, source: "Path | Image.Image", rows: int) -> None:
        super().__init__()
        self._source, self._rows = source, rows

    def compose(self) -> ComposeResult:
        yield Static("…")

    def on_mount(self) -> None:
        self.decode()

    @work(thread=True)
    def decode(self) -> None:
        try:
            image: Any = self._source
            if isinstance(image, Path):
                image = attachments.read_picture(image).image
                image.thumbnail((SIDE, SIDE))
        except InputError as error:
            self.app.call_from_thread(self._replace, Static(one_line(str(error)), markup=False))
            return
        drawn = picture_widget(self.app.terminal)(image)  # type: ignore[attr-defined]
        drawn.styles.height = self._rows
        # A cell of a terminal is about twice as high as it is wide.
        drawn.styles.width = max(round(2 * self._rows * image.width / image.height), 1)
        self.app.call_from_thread(self._replace, drawn)

    def _replace(self, widget: Any) -> None:
        self.remove_children()
        self.mount(widget)
