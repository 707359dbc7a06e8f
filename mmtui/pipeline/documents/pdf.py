"""Text and pictures of the pages of a PDF."""

import io
from collections.abc import Iterator
from typing import NamedTuple

import pypdfium2
from pypdfium2 import raw

from mmtui.errors import InputError
from mmtui.pipeline.documents.document import MAX_PAGES
from mmtui.pipeline.documents.page_ranges import Ranges, list_pages

RESOLUTION = 150 / 72  # pixels per point (1/72 inch) of a page as a picture
MAX_SIDE = 2200  # pixels; larger pages are shrunk


class PdfPage(NamedTuple):
    """A page of a PDF.

    Attributes:
        number: Its number, from 1.
        text: Its text.
        picture: The page as PNG; empty if it was not requested.
    """

    number: int
    text: str
    picture: bytes = b""


def convert_pdf(data: bytes, ranges: Ranges | None, pictures: str) -> Iterator[int | PdfPage]:
    """Read the chosen pages of a PDF.

    Args:
        data: The content of the file.
        ranges: The pages to read; None is all.
        pictures: Of which pages to draw a picture: "none", "textless" or "all".

    Yields:
        The number of pages of the file, then each chosen page.

    Raises:
        InputError: The file is encrypted or damaged, or there are too many pages.
    """
    try:
        file = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if error.err_code == raw.FPDF_ERR_PASSWORD:
            hint = "save a copy of it without a password"
            raise InputError("is protected by a password", hint) from error
        if error.err_code == raw.FPDF_ERR_SECURITY:
            raise InputError("is encrypted in a way that can't be read") from error
        raise InputError("is damaged or cut off", "copy or download it again") from error
    count = len(file)
    numbers = list_pages(ranges, count)
    if len(numbers) > MAX_PAGES:
        message = f"has {len(numbers):,} pages, more than {MAX_PAGES:,}, the limit"
        raise InputError(message, f"choose some, as in FILE#1-{MAX_PAGES}")
    yield count
    for number in numbers:
        yield _read_page(file, number, pictures)


def _read_page(file: pypdfium2.PdfDocument, number: int, pictures: str) -> PdfPage:
    """Read a page; one that is damaged is empty."""
    try:
        page = file[number - 1]
    except pypdfium2.PdfiumError:
        return PdfPage(number, "")
    try:
        try:
            text_page = page.get_textpage()
        except pypdfium2.PdfiumError:
            text = ""
        else:
            text = text_page.get_text_bounded()
            text_page.close()
        is_drawn = pictures == "all" or (pictures == "textless" and not text.strip())
        return PdfPage(number, text, _draw(page) if is_drawn else b"")
    finally:
        page.close()


def _draw(page: pypdfium2.PdfPage) -> bytes:
    """Return a page as PNG."""
    longer = max(*page.get_size(), 1.0)
    bitmap = page.render(scale=min(RESOLUTION, MAX_SIDE / longer))
    stream = io.BytesIO()
    bitmap.to_pil().convert("RGB").save(stream, "PNG", compress_level=1)
    bitmap.close()
    return stream.getvalue()
