"""Draw pictures in the terminal with Kitty graphics, Sixel or half-blocks."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.containers import Container
from textual.geometry import Size
from textual.widgets import Static

from mmtui.errors import InputError
from mmtui.frontends.tui.terminal import get_picture_widget
from mmtui.pipeline import input_files
from mmtui.text import one_line

if TYPE_CHECKING:
    from PIL import Image

    from mmtui.pipeline.assets.spec import VisionSpec

MAX_ASPECT = 8  # columns per row of a thumbnail, so that its name has room beside a panorama
MAX_CELLS = 256  # rows or columns; Kitty's protocol can number at most 297


def fit_size(width: int, height: int, box: Size) -> Size:
    """Return the largest size in a box, in cells, with the aspect ratio of a picture in pixels.

    Cells are about twice as high as they are wide.
    """
    rows = min(box.height, MAX_CELLS, min(box.width, MAX_CELLS) * height / width / 2)
    return Size(max(round(2 * rows * width / height), 1), max(round(rows), 1))


class Thumbnail(Container):
    """A small picture, which is decoded in a thread."""

    DEFAULT_CSS = """
    Thumbnail { width: auto; height: auto; }
    Thumbnail > Static { width: auto; }
    """
    MAX_SIDE: ClassVar = 320  # the picture is downscaled to this longer side, in pixels

    def __init__(self, file: Path, rows: int, columns: int | None = None) -> None:
        """Create a picture.

        Args:
            file: The picture.
            rows: Its height, in cells, at most.
            columns: Its width, in cells, at most; None is eight times the height.
        """
        super().__init__()
        self._file, self._rows = file, rows
        self._columns = columns or MAX_ASPECT * rows
        self._drawn: Any = None

    @property
    def box(self) -> Size:
        """The space for the picture, in cells."""
        return Size(self._columns, self._rows)

    def compose(self) -> ComposeResult:
        yield Static("…")

    def on_mount(self) -> None:
        self.decode()

    def read(self) -> "Image.Image":
        """Read and downscale the picture.

        Raises:
            InputError: The file is not a picture.
            OSError: The disk fails.
        """
        image = input_files.read_picture(self._file).image
        image.thumbnail((self.MAX_SIDE, self.MAX_SIDE))
        return image

    @work(thread=True)
    def decode(self) -> None:
        """Read the picture in a thread, then show it or an error."""
        try:
            widget = get_picture_widget(self.app.terminal)(self.read())  # type: ignore[attr-defined]
        except InputError as error:
            self._show_error(str(error))
        except OSError as error:
            self._show_error(f"{self._file}: can't be read: {error.strerror}")
        else:
            self.app.call_from_thread(self._show, widget)

    def _show_error(self, text: str) -> None:
        self.app.call_from_thread(self._replace, Static(one_line(text), markup=False))

    def _show(self, widget: Any) -> None:
        self._drawn = widget
        self.fit()
        self._replace(widget)

    def fit(self) -> None:
        """Resize the picture to the space for it."""
        if self._drawn is not None and self.box:
            image = self._drawn.image
            size = fit_size(image.width, image.height, self.box)
            self._drawn.styles.width, self._drawn.styles.height = size

    def _replace(self, widget: Any) -> None:
        self.remove_children()
        self.mount(widget)


class LargePicture(Thumbnail):
    """A picture that is as large as its container."""

    DEFAULT_CSS = """
    LargePicture { width: 1fr; height: 1fr; }
    LargePicture > Static { width: 100%; }
    """
    MAX_SIDE = 1600

    def __init__(self, file: Path, vision: "VisionSpec | None" = None) -> None:
        """Create a picture.

        Args:
            file: The picture.
            vision: How the picture is resized for a vision tower, to show what the tower gets; None
                shows the picture itself.
        """
        super().__init__(file, 0)
        self._vision = vision

    @property
    def box(self) -> Size:
        return self.content_size

    def on_resize(self) -> None:
        self.fit()

    def read(self) -> "Image.Image":
        if self._vision is None:
            return super().read()
        return input_files.read_model_input(self._file, self._vision)
