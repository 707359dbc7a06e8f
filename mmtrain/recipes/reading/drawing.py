"""Draw documents, on photos in perspective or as the whole picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from mmtrain.recipes.reading.documents import Document, Line, Surface
from mmtui.errors import InputError

Color = tuple[int, int, int]
Font = ImageFont.FreeTypeFont

SIDE = 720  # pixels of the longer side of a picture
_BODY = 30  # pixels of body text, before a document is fitted into the picture
_TEXT_FONTS = ("DejaVuSans", "DejaVuSerif", "STIXGeneral")  # of Matplotlib, that have all letters
# Of paper and ink.
_COLORS: dict[Surface, tuple[tuple[Color, Color], ...]] = {
    "paper": (
        ((250, 250, 246), (20, 20, 20)), ((240, 234, 214), (40, 30, 30)),
        ((255, 255, 255), (30, 30, 90)), ((228, 232, 236), (10, 10, 10)),
    ),
    "sign": (
        ((200, 30, 30), (255, 255, 255)), ((20, 80, 160), (255, 255, 255)),
        ((250, 210, 30), (10, 10, 10)), ((250, 250, 250), (190, 20, 20)),
        ((20, 110, 60), (255, 255, 255)), ((30, 30, 30), (250, 240, 220)),
        ((240, 240, 240), (10, 10, 10)),
    ),
    "screen": (
        ((240, 240, 240), (10, 10, 10)), ((32, 34, 40), (235, 235, 235)),
        ((255, 255, 255), (30, 60, 120)),
    ),
    "cover": (
        ((120, 30, 40), (250, 240, 220)), ((20, 50, 90), (240, 220, 150)),
        ((235, 225, 200), (50, 30, 20)), ((60, 110, 90), (255, 255, 255)),
        ((250, 250, 250), (20, 20, 20)),
    ),
    "display": (((10, 10, 10), (60, 240, 90)), ((10, 10, 10), (250, 60, 50)),
                ((190, 205, 190), (20, 30, 20))),
}  # fmt: skip


@dataclass(frozen=True)
class FontFamily:
    """The regular and the bold file of a font."""

    regular: Path
    bold: Path


def find_fonts(folders: Sequence[Path]) -> tuple[list[FontFamily], list[FontFamily]]:
    """Return the font families to train on, and those that are kept for held-out pictures.

    They are Matplotlib's and those of the folders; a third of the families is held out.

    Raises:
        InputError: A folder contains no font.
    """
    import matplotlib

    files = [
        file
        for file in (Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("*.ttf")
        if file.stem.startswith(_TEXT_FONTS) and "Display" not in file.stem
    ]
    for folder in folders:
        found = [f for f in folder.glob("*") if f.suffix.lower() in (".ttf", ".otf")]
        if not found:
            raise InputError(f"{folder} contains no font", "pass a folder with .ttf or .otf files")
        files += found
    families: dict[str, dict[str, Path]] = {}
    for file in sorted(files):
        family, style = ImageFont.truetype(file, 12).getname()
        if family and style in ("Regular", "Book", "Roman", "Bold", "Italic"):
            families.setdefault(family, {})["Bold" if style == "Bold" else "Regular"] = file
    pairs = [
        FontFamily(styles.get("Regular", bold), bold)
        for _, styles in sorted(families.items())
        for bold in [styles.get("Bold") or styles["Regular"]]
    ]
    held_out = pairs[1::3]
    return [pair for pair in pairs if pair not in held_out], held_out


def draw(
    document: Document, fonts: Sequence[FontFamily], photos: Sequence[Path], rng: Random
) -> Image.Image:
    """Draw a document in random colors and fonts, mostly on a photo.

    Args:
        document: What to draw.
        fonts: The fonts to choose from.
        photos: Pictures to draw on; without any, the document is the whole picture.
        rng: Decides how it looks.
    """
    page = _draw_page(document, rng.choice(fonts), rng)
    is_screenshot = document.surface == "screen" and rng.random() < 0.7
    if not photos or is_screenshot or rng.random() < 0.2:
        picture = _fit_alone(page, rng)
    else:
        picture = _place_on_photo(page, photos, rng)
    if rng.random() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.8)))
    picture = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.75, 1.15))
    return ImageEnhance.Contrast(picture).enhance(rng.uniform(0.8, 1.1))


def _draw_page(document: Document, family: FontFamily, rng: Random) -> Image.Image:
    """Draw a document on a page of its own size."""
    paper, ink = rng.choice(_COLORS[document.surface])
    margin = round(_BODY * rng.uniform(0.6, 1.6))
    spacing = rng.uniform(1.15, 1.5)
    fonts = [_load_font(family, line) for line in document.lines]
    widths = [
        font.getlength(line.text) + (font.getlength(f"    {line.right}") if line.right else 0)
        for font, line in zip(fonts, document.lines, strict=True)
    ]
    body = _load_font(family, Line("")).getlength("n") * document.width
    width = round(max(*widths, min(body, 1.5 * max(widths)))) + 2 * margin
    heights = [round(_BODY * line.size * spacing) for line in document.lines]
    page = Image.new("RGB", (width, sum(heights) + 2 * margin), paper)
    pen = ImageDraw.Draw(page)
    top = margin
    for line, font, height, text_width in zip(document.lines, fonts, heights, widths, strict=True):
        left = (width - text_width) / 2 if document.is_centered else float(margin)
        if line.is_button:
            box = (left - 8, top - 4, left + text_width + 8, top + height)
            pen.rounded_rectangle(box, 6, outline=ink, width=2)
        pen.text((left, top), line.text, ink, font)
        if line.right:
            pen.text((width - margin, top), line.right, ink, font, anchor="ra")
        top += height
    if document.surface in ("sign", "cover", "display") and rng.random() < 0.5:
        pen.rectangle((4, 4, width - 5, page.height - 5), outline=ink, width=3)
    return page


def _fit_alone(page: Image.Image, rng: Random) -> Image.Image:
    """Return the page on a plain ground, at the size of a picture."""
    ground = tuple(rng.randint(60, 220) for _ in range(3))
    border = rng.randint(0, 60)
    canvas = Image.new("RGB", (page.width + 2 * border, page.height + 2 * border), ground)
    canvas.paste(page, (border, border))
    return _scale(canvas, SIDE)


def _place_on_photo(page: Image.Image, photos: Sequence[Path], rng: Random) -> Image.Image:
    """Return a photo on which the page is, in perspective."""
    with Image.open(rng.choice(photos)) as opened:
        photo = _scale(opened.convert("RGB"), SIDE)
    share = rng.uniform(0.6, 0.92)
    scale = min(share * photo.width / page.width, share * photo.height / page.height)
    width, height = page.width * scale, page.height * scale
    left = rng.uniform(0, photo.width - width)
    top = rng.uniform(0, photo.height - height)
    tilt = rng.uniform(0, 0.06)

    def shake(x: float, y: float) -> tuple[float, float]:
        return x + rng.uniform(-tilt, tilt) * width, y + rng.uniform(-tilt, tilt) * height

    corners = [
        shake(left, top),
        shake(left + width, top),
        shake(left + width, top + height),
        shake(left, top + height),
    ]
    size = (page.width, page.height)
    source = [(0, 0), (size[0], 0), size, (0, size[1])]
    coefficients = _solve_perspective(corners, source)
    mask = Image.new("L", size, 255)
    transform = Image.Transform.PERSPECTIVE
    resample = Image.Resampling.BICUBIC
    warped = page.transform(photo.size, transform, coefficients, resample)
    photo.paste(warped, mask=mask.transform(photo.size, transform, coefficients, resample))
    return photo


def _solve_perspective(
    corners: Sequence[tuple[float, float]], source: Sequence[tuple[float, float]]
) -> list[float]:
    """Return the coefficients of the projection that maps corners to source points."""
    rows = []
    for (x, y), (u, v) in zip(corners, source, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    values = np.array(source, float).reshape(8)
    coefficients: list[float] = np.linalg.solve(np.array(rows, float), values).tolist()
    return coefficients


def _scale(image: Image.Image, side: int) -> Image.Image:
    factor = side / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BICUBIC)


def _load_font(family: FontFamily, line: Line) -> Font:
    return _open_font(family.bold if line.is_bold else family.regular, round(_BODY * line.size))


@lru_cache(maxsize=256)
def _open_font(file: Path, size: int) -> Font:
    return ImageFont.truetype(file, size)
