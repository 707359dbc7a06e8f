"""Measure the contrast of what a screen of the app shows."""

import unicodedata
from collections.abc import Iterator

from rich.color import Color
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from textual.app import App
from textual.screen import ModalScreen

TEXT, GRAPHICS = 4.5, 3.0  # WCAG 2.2, level AA: success criteria 1.4.3 and 1.4.11
_GRAPHIC_CHARACTERS = range(0x2500, 0x25A0)  # borders and blocks

# The colours of xterm, on a dark and on a light background.
_ANSI = [
    (0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205), (0, 205, 205),
    (229, 229, 229), (127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0), (92, 92, 255),
    (255, 0, 255), (0, 255, 255), (255, 255, 255),
]  # fmt: skip
XTERM_DARK = TerminalTheme((0, 0, 0), (229, 229, 229), _ANSI[:8], _ANSI[8:])
XTERM_LIGHT = TerminalTheme((255, 255, 255), (0, 0, 0), _ANSI[:8], _ANSI[8:])


def find_low_contrast(app: App, palette: TerminalTheme = XTERM_DARK) -> set[str]:
    """Return what is on the screen with a lower contrast than level AA requires.

    A dialog is checked without the screen behind it, which is inactive.
    """
    screen = app.screen
    strips = screen._compositor.render_strips()
    regions = [screen.region]
    if isinstance(screen, ModalScreen):
        regions = [child.region for child in screen.children if child.display]
    problems = set()
    for region in regions:
        for strip in strips[max(region.y, 0) : region.bottom]:
            for segment in strip.crop(max(region.x, 0), region.right):
                problems.update(_check(segment.text, segment.style or Style.null(), palette))
    return problems


def _check(text: str, style: Style, palette: TerminalTheme) -> Iterator[str]:
    foreground = (style.color or Color.default()).get_truecolor(palette)
    background = (style.bgcolor or Color.default()).get_truecolor(palette, foreground=False)
    if foreground == background:  # a border that is not to be seen
        return
    if style.reverse:
        foreground, background = background, foreground
    lighter, darker = sorted((_luminance(foreground), _luminance(background)), reverse=True)
    ratio = (lighter + 0.05) / (darker + 0.05)
    text = text.strip()
    is_graphic = all(ord(character) in _GRAPHIC_CHARACTERS for character in text)
    is_shown = any(unicodedata.category(character)[0] != "Z" for character in text)
    if style.dim and is_shown:
        yield f"{text!r} is dim, by an unknown amount"
    if is_shown and ratio < (GRAPHICS if is_graphic else TEXT):
        yield f"{text!r} {foreground.hex} on {background.hex}: {ratio:.2f}"


def _luminance(color: tuple[int, int, int]) -> float:
    """Return the relative luminance of a colour, as WCAG defines it."""
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in (value / 255 for value in color)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
