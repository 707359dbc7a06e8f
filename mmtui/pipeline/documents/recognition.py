"""Recognition of the text on pages that are pictures, such as scans."""

import io
from importlib.util import find_spec

from mmtui.pipeline.documents.reading import Recognize
from mmtui.pipeline.reading.picture_text import load_reader


def find_recognizer() -> Recognize | None:
    """Return a function that reads the text of a page; None if the library for it is missing."""
    return _recognize if find_spec("rapidocr") is not None else None


def _recognize(png: bytes) -> str:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        lines = load_reader().read(image.convert("RGB"))
    return "\n".join(line.text for line in lines)
