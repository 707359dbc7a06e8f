"""Reading the text of a document from a file."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mmtui.encodings import decode
from mmtui.errors import InputError, UsageError
from mmtui.pipeline.documents import conversion
from mmtui.pipeline.documents.converter import Item, clean
from mmtui.pipeline.documents.document import MAX_BYTES, MAX_CHARACTERS, DocumentText
from mmtui.pipeline.documents.formats import detect_format
from mmtui.pipeline.documents.page_ranges import Ranges, format_ranges, list_pages
from mmtui.pipeline.input_files import open_file

if TYPE_CHECKING:
    from mmtui.pipeline.assets.fetch import Report

Recognize = Callable[[bytes], str]  # returns the text in a picture, given as PNG
MAX_RECOGNIZED_PAGES = 50  # pages without text that are read from their pictures
MAX_PICTURE_PAGES = 20  # pages that are attached as pictures
_SAMPLE_BYTES = 1_000_000  # of a text that is too long, by which other files are recognized
_MAX_CHARACTER_BYTES = 4  # in any encoding


def ignore_progress(step: str, done: int, total: int) -> None:
    """Ignore progress."""


def read_document(
    path: Path,
    ranges: Ranges | None = None,
    *,
    recognize: Recognize | None = None,
    report: "Report" = ignore_progress,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> DocumentText:
    """Read the text of a document.

    Args:
        path: A text file, a PDF, a Word document or an HTML page.
        ranges: The pages to read, of a PDF; None is all.
        recognize: Reads pages of a PDF that have no text; None leaves them empty.
        report: Called with (step, done, total) for each page.
        is_cancelled: Asked while the file is read.

    Raises:
        InputError: The file is not a document, is damaged, too large, or has no text.
        UsageError: Pages are chosen of a document that has none.
        ConversionCancelledError: `is_cancelled` returned True.
    """
    with open_file(path) as file:
        return decode_document(
            file, path.name, str(path), ranges,
            recognize=recognize, report=report, is_cancelled=is_cancelled,
        )  # fmt: skip


def decode_document(
    file: BinaryIO,
    name: str,
    origin: str,
    ranges: Ranges | None = None,
    *,
    recognize: Recognize | None = None,
    report: "Report" = ignore_progress,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> DocumentText:
    """Read the text of a document from an open file.

    Args:
        file: The file, at its start.
        name: The name of the document.
        origin: What errors and notes call it.
        ranges, recognize, report, is_cancelled: As of `read_document`.

    Raises:
        InputError, UsageError, ConversionCancelledError: As of `read_document`.
    """
    data = _read_bytes(file, origin)
    format_ = detect_format(data, origin)
    if ranges is not None and format_ != "pdf":
        raise UsageError(
            f"{origin} has no pages to choose from", "only those of a PDF are numbered"
        )
    if format_ == "text":
        document = DocumentText(name, (clean(_decode_text(data, origin)),))
    else:
        with _open_stored(data) as stored:
            pictures = "textless" if recognize is not None and format_ == "pdf" else "none"
            items = conversion.convert(stored, origin, format_, ranges, pictures, is_cancelled)
            document = _collect(items, name, origin, ranges, recognize, report)
    document = replace(document, sha256=hashlib.sha256(data).hexdigest())
    if not any(page.strip() for page in document.pages):
        is_scan = format_ == "pdf"
        hint = f"attach its pages as pictures: --image {name}" if is_scan else None
        raise InputError(f"{origin} contains no text", hint)
    return document


def draw_pages(
    path: Path,
    ranges: Ranges | None = None,
    *,
    report: "Report" = ignore_progress,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> list[tuple[int, bytes]]:
    """Draw pages of a PDF; return the number of each and its picture as PNG.

    Raises:
        InputError: The file is not a PDF, is damaged, or has too many pages.
        ConversionCancelledError: `is_cancelled` returned True.
    """
    with open_file(path) as file:
        data = _read_bytes(file, str(path))
        if detect_format(data, str(path)) != "pdf":
            raise InputError(f"{path} is not a PDF, so it has no pages to draw")
    drawn: list[tuple[int, bytes]] = []
    total = 0
    with _open_stored(data) as stored:
        for item in conversion.convert(stored, str(path), "pdf", ranges, "all", is_cancelled):
            if "pages" in item:
                total = len(list_pages(ranges, item["pages"]))
                if total > MAX_PICTURE_PAGES:
                    raise InputError(
                        f"{path}: {total:,} pages are more than {MAX_PICTURE_PAGES},"
                        " the limit of pages as pictures",
                        f"choose some, as in {path.name}#1-{MAX_PICTURE_PAGES}",
                    )
            else:
                drawn.append((item["page"], conversion.decode_picture(item)))
                report(f"drawing {path.name}", len(drawn), total)
    return drawn


def is_pdf(path: Path) -> bool:
    """Return whether a file is a PDF; False if it can't be read."""
    try:
        with open_file(path) as file:
            return b"%PDF-" in file.read(1024)
    except (InputError, OSError):
        return False


def _collect(
    items: Iterator[Item],
    name: str,
    origin: str,
    ranges: Ranges | None,
    recognize: Recognize | None,
    report: "Report",
) -> DocumentText:
    """Collect the pages of a document, and recognize the text of those that have none."""
    pages: list[str] = []
    textless: list[int] = []
    recognized: list[int] = []
    length, done, total = 0, 0, 0
    for item in items:
        if "pages" in item:
            pages = [""] * item["pages"]
            total = len(list_pages(ranges, item["pages"]))
            continue
        number, text = item["page"], item["text"]
        if recognize is not None and "picture" in item and len(recognized) < MAX_RECOGNIZED_PAGES:
            text = clean(recognize(conversion.decode_picture(item)))
            recognized += [number] if text.strip() else []
        if not text.strip():
            textless.append(number)
        length += len(text)
        _check_length(length, origin)
        pages[number - 1] = text
        done += 1
        report(f"reading {name}", done, total)
    return DocumentText(name, tuple(pages), _make_notes(origin, textless, recognized, len(pages)))


def _make_notes(
    origin: str, textless: list[int], recognized: list[int], count: int
) -> tuple[str, ...]:
    notes = []
    if recognized:
        notes.append(f"{origin}: read from pictures: {_name_pages(recognized)}")
    if textless and count > 1:
        notes.append(f"{origin}: no text on {_name_pages(textless)}")
    return tuple(notes)


def _name_pages(pages: list[int]) -> str:
    return f"page{'s' if len(pages) > 1 else ''} {format_ranges(pages)}"


def _read_bytes(file: BinaryIO, origin: str) -> bytes:
    try:
        data = file.read(MAX_BYTES + 1)
    except OSError as error:  # such as a USB drive that was removed
        raise InputError(f"{origin}: can't be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        limit = MAX_BYTES // 1_000_000
        raise InputError(f"{origin}: the file has more than {limit} MB, the limit of a document")
    if not data:
        raise InputError(f"{origin}: the file is empty")
    return data


def _decode_text(data: bytes, origin: str) -> str:
    """Decode text. If it is too long in any encoding, only its start is, which takes no seconds."""
    is_too_long = len(data) > MAX_CHARACTERS * _MAX_CHARACTER_BYTES
    text = decode(data[:_SAMPLE_BYTES] if is_too_long else data, origin)
    _check_length(len(data) if is_too_long else len(text), origin)
    return text


def _check_length(length: int, origin: str) -> None:
    if length > MAX_CHARACTERS:
        limit = MAX_CHARACTERS // 1_000_000
        raise InputError(
            f"{origin} has more than {limit} million characters, the limit of a document",
            "cut out the part that matters",
        )


def _open_stored(data: bytes) -> BinaryIO:
    """Return a temporary file with the data, which was checked, for another process."""
    stored = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    stored.write(data)
    stored.seek(0)
    return stored
