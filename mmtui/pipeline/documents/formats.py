"""Which format a document has. Its content decides, not its name."""

import io
import zipfile
from typing import Literal

from mmtui.errors import InputError

# "text" is everything that is read as it is: plain text, Markdown, source code, CSV, JSON.
Format = Literal["pdf", "docx", "html", "text"]

_HEAD_BYTES = 1024  # a PDF may have other bytes before its mark
_HTML_SUFFIXES = (".html", ".htm", ".xhtml")
_HTML_STARTS = (b"<!doctype html", b"<html")
_ZIP_ENTRY = b"PK\x01\x02"  # precedes each file in the list of a zip archive
MAX_ZIP_ENTRIES = 100_000  # each takes memory and time
_OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# Files in a zip archive, by which other formats are recognized.
_ARCHIVES = {
    "xl/workbook.xml": ("an Excel workbook", "save its sheet as CSV"),
    "ppt/presentation.xml": ("a PowerPoint presentation", "save it as PDF"),
    "META-INF/container.xml": ("an EPUB book", "convert it to HTML or PDF"),
    "content.xml": ("an OpenDocument file", "save it as PDF or DOCX"),
}


def detect_format(data: bytes, name: str) -> Format:
    """Return the format of a document.

    Args:
        data: The content of the file.
        name: The name of the file, for its suffix and for errors.

    Raises:
        InputError: The file is in a format that can't be read.
    """
    if b"%PDF-" in data[:_HEAD_BYTES]:
        return "pdf"
    if data.startswith(b"PK\x03\x04"):
        return _detect_in_archive(data, name)
    if data.startswith(_OLD_OFFICE):
        raise InputError(f"{name} is a file of an old Office program", "save it as DOCX or PDF")
    if data.startswith(b"{\\rtf"):
        raise InputError(f"{name} is in Rich Text Format", "save it as DOCX or PDF")
    start = data[:_HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if name.lower().endswith(_HTML_SUFFIXES) or start.startswith(_HTML_STARTS):
        return "html"
    return "text"


def _detect_in_archive(data: bytes, name: str) -> Format:
    if data.count(_ZIP_ENTRY) > MAX_ZIP_ENTRIES:
        raise InputError(f"{name} contains more than {MAX_ZIP_ENTRIES:,} files, the limit")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise InputError(f"{name} is damaged or cut off", "copy or download it again") from error
    if "word/document.xml" in names:
        return "docx"
    for member, (kind, hint) in _ARCHIVES.items():
        if member in names:
            raise InputError(f"{name} is {kind}, which can't be read", hint)
    raise InputError(f"{name} is a zip archive", "unpack it, and attach a file in it")
