"""Recognition of the text on pages that are pictures, such as scans."""

import io
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mmtui.pipeline.documents.reading import Recognize

if TYPE_CHECKING:
    from mmtui.pipeline.reading.reader import TextReader


def find_recognizer() -> Recognize | None:
    """Return a function that reads the text of a page; None if the library for it is missing."""
    return _recognize if find_spec("rapidocr") is not None else None


def _recognize(png: bytes) -> str:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        lines = _load_reader().read(image.convert("RGB"))
    return "\n".join(line.text for line in lines)


@cache
def _load_reader() -> "TextReader":
    from mmtui.pipeline.reading.reader import TextReader

    return TextReader()
