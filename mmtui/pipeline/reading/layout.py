"""The reading order of pieces of text: lines from top to bottom, columns from left to right."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_MIN_OVERLAP = 0.5  # of the heights of two pieces on the same line
# Columns of running text are at least this many times as wide as a line is high. A column of
# prices is narrower, and belongs to the lines of what is priced.
_MIN_COLUMN = 6.0
_MIN_GUTTER = 0.5  # width of the space between two columns, in heights of a line
_MIN_COLUMN_LINES = 3


@dataclass(frozen=True)
class Piece:
    """A detected piece of text in upright coordinates.

    Attributes:
        index: The number of the piece in the output of the detector.
        left: The smallest x in pixels.
        top: The smallest y, which points down.
        right: The largest x.
        bottom: The largest y.
    """

    index: int
    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """The width in pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """The height in pixels."""
        return self.bottom - self.top


Line = list[Piece]
Gutter = tuple[float, float]


def order_pieces(pieces: Sequence[Piece]) -> list[Line]:
    """Group pieces to lines in reading order; the pieces of each line go from left to right.

    Pieces at the same height are a line, such as "TOTAL" and "12.50" on a receipt. Columns of
    running text are read one after the other.
    """
    rows = _group_rows(pieces)
    lines: list[Line] = []
    start = 0
    while start < len(rows):
        end, gutter = _find_columns(rows, start)
        if gutter is None:
            lines.append(rows[start])
            start += 1
            continue
        inside = [piece for row in rows[start:end] for piece in row]
        lines += order_pieces([piece for piece in inside if piece.right <= gutter[0]])
        lines += order_pieces([piece for piece in inside if piece.left >= gutter[1]])
        start = end
    return lines


def _group_rows(pieces: Sequence[Piece]) -> list[Line]:
    """Group pieces that overlap the first piece of a row vertically, from top to bottom."""
    rows: list[Line] = []
    for piece in sorted(pieces, key=lambda piece: (piece.top + piece.bottom, piece.left)):
        for row in reversed(rows[-3:]):  # rows further up end above this piece
            first = row[0]
            overlap = min(first.bottom, piece.bottom) - max(first.top, piece.top)
            if overlap >= _MIN_OVERLAP * min(first.height, piece.height):
                row.append(piece)
                break
        else:
            rows.append([piece])
    return [sorted(row, key=lambda piece: piece.left) for row in rows]


def _find_columns(rows: Sequence[Line], start: int) -> tuple[int, Gutter | None]:
    """Return the end of the rows from `start` that two columns share, and the gutter between them.

    The gutter is None if the rows are not in columns.
    """
    for gap in _find_gaps(rows[start]):
        gutter, end, count = gap, start, 0
        while end < len(rows) and (narrowed := _narrow(gutter, rows[end])) is not None:
            gutter = narrowed
            gaps = _find_gaps(rows[end])
            count += any(left <= gutter[0] and gutter[1] <= right for left, right in gaps)
            end += 1
        if count >= _MIN_COLUMN_LINES:
            return end, gutter
    return start + 1, None


def _find_gaps(row: Line) -> list[Gutter]:
    """Return the spaces in a row between two pieces that are wide enough for columns."""
    return [
        (left.right, right.left)
        for left, right in pairwise(row)
        if min(left.width, right.width) >= _MIN_COLUMN * min(left.height, right.height)
        and right.left - left.right >= _MIN_GUTTER * min(left.height, right.height)
    ]


def _narrow(gutter: Gutter, row: Line) -> Gutter | None:
    """Narrow a gutter to the space that a row leaves free; None if that is too little."""
    left, right = gutter
    for piece in row:
        if piece.right <= (left + right) / 2:
            left = max(left, piece.right)
        elif piece.left >= (left + right) / 2:
            right = min(right, piece.left)
        else:
            return None
    return (left, right) if right - left >= _MIN_GUTTER * min(p.height for p in row) else None
