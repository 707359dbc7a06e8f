"""All text in a picture, with places in pixels of its file."""

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmtui.pipeline.reading.reader import TextLine, TextReader
    from mmtui.pipeline.vision.images import Picture


@dataclass(frozen=True)
class PictureText:
    """The text in a picture.

    Attributes:
        lines: The lines in reading order; empty if no text was found.
        size: Width and height of the picture in its file, upright, to which the boxes refer.
    """

    lines: "tuple[TextLine, ...]"
    size: tuple[int, int]

    @property
    def text(self) -> str:
        """The lines of text, joined by line breaks; "" if no text was found."""
        return "\n".join(line.text for line in self.lines)


def read_text(picture: "Picture") -> PictureText:
    """Recognize all text in a picture; the models are loaded with the first one."""
    size = picture.size if all(picture.size) else picture.image.size
    x, y = size[0] / picture.image.width, size[1] / picture.image.height
    scale = (x, y, x, y)
    lines = []
    for line in load_reader().read(picture.image):
        left, top, right, bottom = (
            round(value * factor) for value, factor in zip(line.box, scale, strict=True)
        )
        lines.append(replace(line, box=(left, top, right, bottom)))
    return PictureText(tuple(lines), size)


@cache
def load_reader() -> "TextReader":
    """Load the models that recognize text, once for all pictures and pages."""
    from mmtui.pipeline.reading.reader import TextReader

    return TextReader()
