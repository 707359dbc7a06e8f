"""Recognition of the text on pages that are pictures, such as scans."""

import io

from mmtui.pipeline.reading.picture_text import load_reader


def recognize_page(png: bytes) -> str:
    """Return the text of a page that is a picture, line by line."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        lines = load_reader().read(image.convert("RGB"))
    return "\n".join(line.text for line in lines)
