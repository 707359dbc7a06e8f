"""Pages that a user chooses, as in "3-7" or "report.pdf#1,4-6"."""

import re
from collections.abc import Iterable

from mmtui.errors import InputError, UsageError
from mmtui.paths import split_pages

_RANGES = re.compile(r"\s*\d{1,9}(\s*-\s*\d{0,9})?(\s*,\s*\d{1,9}(\s*-\s*\d{0,9})?)*\s*")

Ranges = tuple[tuple[int, int], ...]  # first and last page of each; 0 is the end of the document


def parse_ranges(text: str) -> Ranges:
    """Parse page numbers and ranges: "3-7", "1,4", "5-" for all pages from the fifth.

    Raises:
        UsageError: The text is something else, or a range ends before it starts.
    """
    hint = "for example 3-7, or 1,4-6, or 5- for all pages from the fifth"
    if not _RANGES.fullmatch(text):
        raise UsageError(f"{text!r} are not pages", hint)
    ranges = []
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        start = int(first)
        end = int(last) if last else (0 if dash else start)
        if start < 1 or (last and end < start):
            raise UsageError(f"{text!r} are not pages", hint)
        ranges.append((start, end))
    return tuple(ranges)


def split_ranges(path: str) -> tuple[str, Ranges | None]:
    """Split the pages off a path, as in "report.pdf#3-7"; they are None if it names none.

    Raises:
        UsageError: The pages can't be parsed.
    """
    name, pages = split_pages(path)
    return name, parse_ranges(pages) if pages else None


def list_pages(ranges: Ranges | None, count: int) -> list[int]:
    """Return the numbers of the chosen pages, from 1, in order.

    Args:
        ranges: The chosen ranges; None is all pages.
        count: The number of pages of the document.

    Raises:
        InputError: The document has no such page; the message lacks its name.
    """
    if ranges is None:
        return list(range(1, count + 1))
    pages: set[int] = set()
    for start, end in ranges:
        if start > count or end > count:
            what = f"{count:,} pages" if count != 1 else "1 page"
            raise InputError(f"has {what}, so there is no page {max(start, end):,}")
        pages.update(range(start, (end or count) + 1))
    return sorted(pages)


def format_ranges(pages: Iterable[int]) -> str:
    """Return page numbers as people write them: "1, 4-6"."""
    ranges: list[list[int]] = []
    for page in sorted(pages):
        if ranges and page == ranges[-1][1] + 1:
            ranges[-1][1] = page
        else:
            ranges.append([page, page])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)


def encode_ranges(ranges: Ranges | None) -> str:
    """Return ranges in the form that `parse_ranges` reads; "" for all pages."""
    parts = (f"{start}" if start == end else f"{start}-{end or ''}" for start, end in ranges or ())
    return ",".join(parts)
