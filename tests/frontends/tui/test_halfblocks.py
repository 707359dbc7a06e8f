"""Pictures in half-blocks in terminals with 256 colours."""

import io

import numpy as np
import pytest
from PIL import Image
from rich.color import Color, ColorSystem
from rich.console import Console

from mmtui.frontends.tui.terminal import Terminal, get_picture_widget

PALETTE = np.array([Color.from_ansi(number).get_truecolor() for number in range(16, 256)], float)
TINTED = [(46, 31, 48), (32, 43, 50), (62, 40, 46), (38, 41, 56), (70, 45, 53)]


def render(image: Image.Image, colors: str) -> np.ndarray:
    """Return the pixels that a terminal with so many colours shows, (rows, columns, 3)."""
    console = Console(file=io.StringIO(), color_system=colors, force_terminal=True, width=200)
    renderable = get_picture_widget(Terminal())._Renderable(image, image.width, image.height // 2)
    system = {"256": ColorSystem.EIGHT_BIT, "truecolor": ColorSystem.TRUECOLOR}[colors]
    rows: list[list[tuple[int, ...]]] = []
    for line in console.render_lines(renderable, pad=False):
        styles = [segment.style for segment in line for _ in segment.text if segment.style]
        rows.append([style.color.downgrade(system).get_truecolor() for style in styles])
        rows.append([style.bgcolor.downgrade(system).get_truecolor() for style in styles])
    return np.array(rows, float)


@pytest.mark.parametrize("colour", TINTED)
def test_dark_colours_stay_dark(colour):
    pixels = render(Image.new("RGB", (4, 4), colour), "256")
    assert pixels.shape == (4, 4, 3)
    assert np.abs(pixels - colour).max() < 25  # Rich alone is off by 45 and more


def test_each_pixel_has_about_the_nearest_of_256_colours():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    error = np.linalg.norm(render(Image.fromarray(image), "256") - image, axis=-1)
    nearest = np.linalg.norm(image[:, :, None] - PALETTE, axis=-1).min(-1)
    assert (error - nearest).max() < 20 and (error - nearest).mean() < 1


def test_true_colours_are_not_changed():
    image = Image.new("RGB", (4, 4), TINTED[0])
    assert (render(image, "truecolor") == TINTED[0]).all()
