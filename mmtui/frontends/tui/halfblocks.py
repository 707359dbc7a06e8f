"""Pictures in half-blocks, with correct colours in terminals with 256 colours.

Rich maps dark, slightly tinted colours to saturated ones: near-black becomes blue, red or purple.
Here each pixel gets the nearest colour, without dithering, which would be visible at this size.

Only `terminal` imports this module, because textual_image queries the terminal on import.
"""

from functools import cache

from PIL import Image
from rich.color import Color, ColorSystem
from rich.color_triplet import ColorTriplet
from rich.console import Console, ConsoleOptions, RenderResult
from textual_image.renderable import halfcell
from textual_image.widget import HalfcellImage

from mmtui.compat.textual_image_hooks import get_cell_size

_CUBE, _GREYS = range(16, 232), range(232, 256)  # colours 0 to 15 depend on the terminal's theme


class Halfblocks(halfcell.Image):
    """The half-block renderable of textual-image, with correct colours."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if console.color_system != "256":
            yield from super().__rich_console__(console, options)
            return
        width, height = self._render_size.get_cell_size(
            options.max_width, options.max_height, get_cell_size()
        )
        palette, rich_palette = _make_palettes()
        image = self._image_data.pil_image.resize((width, 2 * height))
        image = image.quantize(palette=palette, dither=Image.Dither.NONE)
        image.putpalette(rich_palette)
        yield from halfcell.Image(image, width, height).__rich_console__(console, options)


class HalfblocksImage(HalfcellImage, Renderable=Halfblocks):
    """A widget that draws a picture in half-blocks."""


@cache
def _make_palettes() -> tuple[Image.Image, list[int]]:
    """Return the colours of the terminal, and for each the colour that Rich maps to it."""
    colors = {number: Color.from_ansi(number).get_truecolor() for number in (*_CUBE, *_GREYS)}
    rich_colors = {
        **{number: colors[number] for number in _CUBE},
        **{number: _make_grey(number - 231) for number in _GREYS},
    }
    numbers = [
        number
        for number, triplet in rich_colors.items()
        if Color.from_triplet(triplet).downgrade(ColorSystem.EIGHT_BIT).number == number
    ]
    palette = Image.new("P", (1, 1))
    palette.putpalette(_flatten([colors[number] for number in numbers]))
    return palette, _flatten([rich_colors[number] for number in numbers])


def _make_grey(step: int) -> ColorTriplet:
    """Return the grey that Rich rounds to one of its 25 steps."""
    level = round(255 * step / 25)
    return ColorTriplet(level, level, level)


def _flatten(triplets: list[ColorTriplet]) -> list[int]:
    """Return the channels of 256 colours; the last colour is repeated."""
    padded = triplets + triplets[-1:] * (256 - len(triplets))
    return [channel for triplet in padded for channel in triplet]
