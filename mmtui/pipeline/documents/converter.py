"""The process that converts a document to text. A damaged or malicious file can only harm it.

It reads the file from stdin and writes a JSON object per line to stdout; see `Item`.
"""

import base64
import io
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TypedDict

from mmtui.errors import InputError
from mmtui.pipeline.documents.page_ranges import Ranges, parse_ranges
from mmtui.text import printable

MAX_MEMORY_BYTES = 2 << 30  # address space of the process
MAX_CPU_S = 120


class Item(TypedDict, total=False):
    """A line of the output.

    Attributes:
        pages: The number of pages of the document; comes first.
        page: The number of a page, from 1, with its text or its picture.
        text: The text of a page.
        picture: A page as PNG, encoded in Base64.
        error: Why the document can't be converted, with a hint; comes last.
        end: Whether the document is complete; comes last.
    """

    pages: int
    page: int
    text: str
    picture: str
    error: str
    hint: str
    end: bool


def main(format_: str, pages: str, pictures: str) -> None:
    """Convert the document on stdin.

    Args:
        format_: "pdf", "docx" or "html".
        pages: The chosen pages as in "3-7"; "" is all.
        pictures: Of which pages of a PDF pictures are written: "none", "textless" or "all".
    """
    _limit_resources()
    data = sys.stdin.buffer.read()
    ranges = parse_ranges(pages) if pages else None
    try:
        for item in _convert(format_, data, ranges, pictures):
            _write(item)
        _write({"end": True})
    except InputError as error:
        _write({"error": str(error), "hint": error.hint or ""})
    except MemoryError:
        _write({"error": "needs too much memory", "hint": ""})
    except RecursionError:
        _write({"error": "is nested too deeply", "hint": ""})


def _convert(format_: str, data: bytes, ranges: Ranges | None, pictures: str) -> Iterator[Item]:
    if format_ == "pdf":
        from mmtui.pipeline.documents.pdf import convert_pdf

        for item in convert_pdf(data, ranges, pictures):
            if isinstance(item, int):
                yield {"pages": item}
            elif item.picture:
                picture = base64.b64encode(item.picture).decode("ascii")
                yield {"page": item.number, "text": clean(item.text), "picture": picture}
            else:
                yield {"page": item.number, "text": clean(item.text)}
        return
    from mmtui.pipeline.documents.markup import convert_docx, convert_html

    convert = convert_docx if format_ == "docx" else convert_html
    yield {"pages": 1}
    yield {"page": 1, "text": clean(convert(io.BytesIO(data)))}


def clean(text: str) -> str:
    """Return text without control characters, trailing spaces and repeated blank lines."""
    lines = (line.rstrip() for line in printable(text.replace("\r\n", "\n")).split("\n"))
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append(line)
    return "\n".join(kept).rstrip("\n")


def _write(item: Item) -> None:
    print(json.dumps(item), flush=True)


def _limit_resources() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = ((resource.RLIMIT_AS, MAX_MEMORY_BYTES), (resource.RLIMIT_CPU, MAX_CPU_S))
    for kind, limit in limits:
        with suppress(ValueError, OSError):  # a lower limit is set already, or none can be
            resource.setrlimit(kind, (limit, limit))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this
    main(*sys.argv[1:])
