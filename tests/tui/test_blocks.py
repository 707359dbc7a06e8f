"""Pictures in half-blocks where there are few colours."""

import io

import numpy as np
import pytest
from PIL import Image
from rich.color import Color, ColorSystem
from rich.console import Console

from mmtui.tui.terminal import Terminal, picture_widget

SYSTEMS = {"256": ColorSystem.EIGHT_BIT, "standard": ColorSystem.STANDARD}


def seen(image: Image.Image, colors: str) -> np.ndarray:
    """The pixels that a terminal with so many colours shows, (rows, columns, 3)."""
    console = Console(file=io.StringIO(), color_system=colors, force_terminal=True, width=200)
    renderable = picture_widget(Terminal())._Renderable(image, image.width, image.height // 2)

    def shown(color: Color) -> tuple[int, ...]:
        return color.downgrade(SYSTEMS.get(colors, ColorSystem.TRUECOLOR)).get_truecolor()

    rows: list[list[tuple[int, ...]]] = []
    for line in console.render_lines(renderable, pad=False):
        cells = [segment.style for segment in line for _ in segment.text if segment.style]
        rows.append([shown(style.color) for style in cells])
        rows.append([shown(style.bgcolor) for style in cells])
    return np.array(rows, float)


@pytest.mark.parametrize(
    "colour", [(46, 31, 48), (32, 43, 50), (62, 40, 46), (38, 41, 56), (70, 45, 53)]
)
def test_what_is_dark_stays_dark_in_256_colours(colour):
    pixels = seen(Image.new("RGB", (32, 32), colour), "256")
    assert pixels.shape == (32, 32, 3)
    assert np.abs(pixels.mean((0, 1)) - colour).max() < 8  # Rich alone is off by 45


@pytest.mark.parametrize(("colors", "most"), [("256", 8), ("standard", 20)])
def test_of_a_photo_the_colours_are_right_on_average(colors, most):
    ramp = np.linspace(20, 200, 32)
    photo = np.stack([*np.meshgrid(ramp, ramp), np.full((32, 32), 90.0)], -1)
    pixels = seen(Image.fromarray(photo.astype(np.uint8)), colors)

    def blurred(image: np.ndarray) -> np.ndarray:
        return image.reshape(4, 8, 4, 8, 3).mean((1, 3))

    assert np.abs(blurred(pixels) - blurred(photo)).mean() < most


def test_all_colours_are_left_where_there_are_all():
    image = Image.new("RGB", (4, 4), (46, 31, 48))
    assert (seen(image, "truecolor") == (46, 31, 48)).all()
