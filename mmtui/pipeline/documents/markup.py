"""Word documents and HTML pages as Markdown."""

import zipfile
from typing import BinaryIO

import mammoth
from bs4 import BeautifulSoup
from markdownify import MarkdownConverter

from mmtui.errors import InputError
from mmtui.pipeline.documents.html_tree import HtmlTree

MAX_XML_BYTES = 50_000_000  # of all XML files in a Word document; pictures are not read
# Elements without text for readers; pictures are left out.
_LEFT_OUT = ("script", "style", "noscript", "template", "svg", "img", "picture", "video", "audio")


def convert_docx(file: BinaryIO) -> str:
    """Return the text of a Word document as Markdown, without its pictures.

    Raises:
        InputError: The file is damaged, encrypted or a zip bomb.
    """
    damaged = InputError("is damaged or cut off", "open it in Word and save it again")
    try:
        with zipfile.ZipFile(file) as archive:
            sizes = [
                e.file_size for e in archive.infolist() if e.filename.endswith((".xml", ".rels"))
            ]
            if sum(sizes) > MAX_XML_BYTES:
                limit = MAX_XML_BYTES // 1_000_000
                raise InputError(f"unpacks to more than {limit} MB of text, the limit")
        file.seek(0)
        html = mammoth.convert_to_html(file, convert_image=_leave_out).value
    except (InputError, MemoryError, RecursionError):
        raise
    except Exception as error:  # mammoth has no error of its own for damaged files
        raise damaged from error
    return _convert(HtmlTree(html))


def convert_html(file: BinaryIO) -> str:
    """Return the text of an HTML page as Markdown, without scripts, styles and pictures."""
    soup = HtmlTree(file.read())
    for element in soup(_LEFT_OUT):
        element.decompose()
    return _convert(soup)


def _convert(soup: BeautifulSoup) -> str:
    converter = MarkdownConverter(heading_style="atx", escape_misc=False, escape_underscores=False)
    return str(converter.convert_soup(soup))


def _leave_out(_: object) -> list[object]:
    """Convert a picture of a Word document to nothing."""
    return []
