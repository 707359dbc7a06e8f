"""A picture in the terminal, by the best way that it has: Kitty graphics, Sixel or half-blocks."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.containers import Container
from textual.geometry import Size
from textual.widgets import Static

from mmtui.errors import InputError
from mmtui.frontends.tui.terminal import picture_widget
from mmtui.pipeline import input_files
from mmtui.text import one_line

if TYPE_CHECKING:
    from PIL import Image

WIDEST = 8  # columns for each row of a thumbnail: beside a panorama, there is room for its name
MOST = 256  # rows or columns; Kitty's protocol has numbers for no more than 297


def fit_size(width: int, height: int, box: Size) -> Size:
    """Cells for all of a picture, in its shape: they are about twice as high as they are wide."""
    rows = min(box.height, MOST, min(box.width, MOST) * height / width / 2)
    return Size(max(round(2 * rows * width / height), 1), max(round(rows), 1))


class Thumbnail(Container):
    """`rows` high; decoded in a thread, so that nothing waits for it."""

    DEFAULT_CSS = """
    Thumbnail { width: auto; height: auto; }
    Thumbnail > Static { width: auto; }
    """
    SIDE: ClassVar = 320  # pixels of the longer side that are kept

    def __init__(self, file: Path, rows: int) -> None:
        super().__init__()
        self._file, self._rows = file, rows
        self._drawn: Any = None

    @property
    def box(self) -> Size:
        """The cells that there are for the picture."""
        return Size(WIDEST * self._rows, self._rows)

    def compose(self) -> ComposeResult:
        yield Static("…")

    def on_mount(self) -> None:
        self.decode()

    def read(self) -> "Image.Image":
        """Raises InputError or OSError."""
        image = input_files.read_picture(self._file).image
        image.thumbnail((self.SIDE, self.SIDE))
        return image

    @work(thread=True)
    def decode(self) -> None:
        try:
            drawn = picture_widget(self.app.terminal)(self.read())  # type: ignore[attr-defined]
        except InputError as error:
            self._tell(str(error))
        except OSError as error:  # the disk fails
            self._tell(f"{self._file}: can't be read: {error.strerror}")
        else:
            self.app.call_from_thread(self._show, drawn)

    def _tell(self, why: str) -> None:
        self.app.call_from_thread(self._replace, Static(one_line(why), markup=False))

    def _show(self, drawn: Any) -> None:
        self._drawn = drawn
        self.fit()
        self._replace(drawn)

    def fit(self) -> None:
        if self._drawn is not None and self.box:
            image = self._drawn.image
            size = fit_size(image.width, image.height, self.box)
            self._drawn.styles.width, self._drawn.styles.height = size

    def _replace(self, widget: Any) -> None:
        self.remove_children()
        self.mount(widget)


class LargePicture(Thumbnail):
    """As large as there is room for; `crop_side` is the side of what a vision tower sees of it."""

    DEFAULT_CSS = """
    LargePicture { width: 1fr; height: 1fr; }
    LargePicture > Static { width: 100%; }
    """
    SIDE = 1600

    def __init__(self, file: Path, crop_side: int = 0) -> None:
        super().__init__(file, 0)
        self._seen_by = crop_side

    @property
    def box(self) -> Size:
        return self.content_size

    def on_resize(self) -> None:
        self.fit()

    def read(self) -> "Image.Image":
        if self._seen_by:
            return input_files.crop_picture(self._file, self._seen_by)
        return super().read()
