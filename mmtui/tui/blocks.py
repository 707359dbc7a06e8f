"""Pictures in half-blocks, in the colours that the terminal has.

Rich takes dark, slightly tinted colours for saturated ones where there are only 256: what is nearly
black became blue or purple. Here a picture gets the nearest colours before Rich sees it, and errors
are spread over its neighbourhood (dithering).

Imported by `mmtui.tui.terminal` alone: textual_image asks the terminal when it is imported.
"""

from functools import cache

from PIL import Image
from rich.color import Color, ColorSystem
from rich.color_triplet import ColorTriplet
from rich.console import Console, ConsoleOptions, RenderResult
from textual_image._terminal import get_cell_size
from textual_image.renderable import halfcell
from textual_image.widget import HalfcellImage


class Blocks(halfcell.Image):
    """As textual-image draws it, but for the colours."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        palette = _palette(console.color_system)
        if palette is None:
            yield from super().__rich_console__(console, options)
            return
        width, height = self._render_size.get_cell_size(
            options.max_width, options.max_height, get_cell_size()
        )
        pixels = self._image_data.pil_image.resize((width, 2 * height))
        drawn = pixels.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        yield from halfcell.Image(drawn, width, height).__rich_console__(console, options)


class BlocksImage(HalfcellImage, Renderable=Blocks):
    """The widget of a picture in half-blocks."""


@cache
def _palette(colors: str | None) -> Image.Image | None:
    """The colours that Rich leaves as they are; None where that is all."""
    if colors == "256":
        system, numbers = ColorSystem.EIGHT_BIT, range(16, 256)  # the first 16 are themed
    elif colors == "standard":
        system, numbers = ColorSystem.STANDARD, range(16)
    else:
        return None
    known = [Color.from_ansi(number).get_truecolor() for number in numbers]
    kept = [triplet for triplet in known if _is_kept(triplet, system)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for triplet in (kept * 256)[:256] for part in triplet])
    return palette


def _is_kept(triplet: ColorTriplet, system: ColorSystem) -> bool:
    return Color.from_triplet(triplet).downgrade(system).get_truecolor() == triplet
