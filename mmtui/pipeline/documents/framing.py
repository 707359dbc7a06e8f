"""Documents in a prompt: framed as data that a text inside can't leave."""

import re
from collections.abc import Sequence

from mmtui.text import one_line

OMITTED = "[...]"  # stands for text that is left out

_BREAK = "\u200b"  # zero-width space, which breaks what looks like a frame in the text
_FRAME = re.compile(r"<(?=/?\s*document\b)", re.IGNORECASE)
_MARK = re.compile(r"^(\s*)\[(?=page \d+\]\s*$)", re.IGNORECASE | re.MULTILINE)


def mark_page(number: int) -> str:
    """Return the line that comes before the text of a page."""
    return f"[page {number}]"


def escape(text: str) -> str:
    """Break what looks like the frame of a document or like the mark of a page."""
    return _MARK.sub(rf"\1[{_BREAK}", _FRAME.sub(f"<{_BREAK}", text))


def frame(name: str, text: str) -> str:
    """Return the text of a document, which is escaped, as a part of a prompt."""
    name = one_line(name).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f'<document name="{name}">\n{text}\n</document>'


def prepend_documents(documents: Sequence[tuple[str, str]], text: str) -> str:
    """Return a message with the names and texts of its documents before its own text."""
    parts = [frame(name, content) for name, content in documents]
    return "\n\n".join([*parts, text] if text else parts)
