"""Thumbnails that are text, so that each row of a list can have one."""

from pathlib import Path

from textual.color import Color
from textual.content import Content
from textual.style import Style

from mmtui.pipeline import input_files

COLUMNS, LINES = 7, 3
HALVES = 2 * LINES - 1  # of lines; the last one stays empty, to part the pictures of two rows


def draw_tiny_picture(file: Path) -> list[Content]:
    """Return the lines of a thumbnail in half-blocks; the middle of the picture fills it.

    Raises:
        InputError: The file is not a picture, is damaged, or can't be read.
        OSError: The disk fails.
    """
    from PIL import ImageOps

    image = input_files.read_picture(file).image.convert("RGB")
    data = ImageOps.fit(image, (COLUMNS, HALVES)).tobytes()
    colors = [Color(*data[at : at + 3]) for at in range(0, len(data), 3)]
    rows = [colors[at : at + COLUMNS] for at in range(0, len(colors), COLUMNS)]
    return [_draw_line(rows[at], rows[at + 1 : at + 2]) for at in range(0, HALVES, 2)]


def _draw_line(upper: list[Color], lower: list[list[Color]]) -> Content:
    """Return a line of which the lower half can be empty."""
    backgrounds = lower[0] if lower else [None] * COLUMNS
    return Content.assemble(
        *(("▀", Style(below, above)) for above, below in zip(upper, backgrounds, strict=True))
    )
