"""Pictures in half-blocks, with the right colours where a terminal has 256 of them.

Rich takes dark, slightly tinted colours for saturated ones there: what is nearly black became blue,
red or purple. Here each pixel gets the nearest of the colours. They are not dithered: so few pixels
look better in plain colours.

Imported by `terminal` alone: textual_image asks the terminal when it is imported.
"""

from functools import cache

from PIL import Image
from rich.color import Color, ColorSystem
from rich.color_triplet import ColorTriplet
from rich.console import Console, ConsoleOptions, RenderResult
from textual_image.renderable import halfcell
from textual_image.widget import HalfcellImage

from mmtui.compat.textual_image_hooks import get_cell_size

_CUBE, _GREYS = range(16, 232), range(232, 256)  # the first 16 depend on the terminal's theme


class Halfblocks(halfcell.Image):
    """As textual-image draws it, but for the colours."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if console.color_system != "256":
            yield from super().__rich_console__(console, options)
            return
        width, height = self._render_size.get_cell_size(
            options.max_width, options.max_height, get_cell_size()
        )
        shown, asked = _palettes()
        pixels = self._image_data.pil_image.resize((width, 2 * height))
        drawn = pixels.quantize(palette=shown, dither=Image.Dither.NONE)
        drawn.putpalette(asked)
        yield from halfcell.Image(drawn, width, height).__rich_console__(console, options)


class HalfblocksImage(HalfcellImage, Renderable=Halfblocks):
    """The widget of a picture in half-blocks."""


@cache
def _palettes() -> tuple[Image.Image, list[int]]:
    """The colours that there are, and those that Rich has to be asked for to get them."""
    colors = {number: Color.from_ansi(number).get_truecolor() for number in (*_CUBE, *_GREYS)}
    asked = {
        **{number: colors[number] for number in _CUBE},
        **{number: _grey(number - 231) for number in _GREYS},
    }
    numbers = [
        number
        for number, triplet in asked.items()
        if Color.from_triplet(triplet).downgrade(ColorSystem.EIGHT_BIT).number == number
    ]
    shown = Image.new("P", (1, 1))
    shown.putpalette(_flat([colors[number] for number in numbers]))
    return shown, _flat([asked[number] for number in numbers])


def _grey(step: int) -> ColorTriplet:
    """A grey that Rich rounds to that one of its 25 steps."""
    level = round(255 * step / 25)
    return ColorTriplet(level, level, level)


def _flat(triplets: list[ColorTriplet]) -> list[int]:
    """A palette of 256 colours, the last of them repeated."""
    whole = triplets + triplets[-1:] * (256 - len(triplets))
    return [part for triplet in whole for part in triplet]
