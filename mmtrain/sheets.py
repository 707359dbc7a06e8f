"""Contact sheets: pictures in a grid, each with what was said about it."""

import json
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from mmtrain.stage import Sample
from mmtui.chat import attachments
from mmtui.errors import InputError

CELL, TEXT, COLUMNS = 220, 96, 4


def draw(cells: list[tuple[Path | None, str]], file: Path) -> None:
    """Write a PNG of pictures with a text beneath each."""
    rows = -(-len(cells) // COLUMNS) or 1
    sheet = Image.new("RGB", (COLUMNS * (CELL + 8), rows * (CELL + TEXT)), "white")
    pen: Any = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for number, (picture, text) in enumerate(cells):
        left = number % COLUMNS * (CELL + 8) + 4
        top = number // COLUMNS * (CELL + TEXT) + 4
        if picture is not None and (image := _thumbnail(picture)) is not None:
            sheet.paste(image, (left, top))
        lines = [line for part in text.splitlines() for line in textwrap.wrap(part, 32)]
        pen.multiline_text((left, top + CELL + 2), "\n".join(lines[:5]), "black", font)
    sheet.save(file, "PNG")


def log(out: Path, step: int, samples: list[Sample]) -> None:
    """Samples of a step, as OUT/samples/STEP.jsonl beside a picture STEP.png."""
    folder = out / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(asdict(s) | {"picture": s.picture and s.picture.name}) for s in samples]
    (folder / f"{step:08}.jsonl").write_text("".join(line + "\n" for line in lines))
    cells = [(s.picture, f"{s.answer}\n({s.reference})") for s in samples]
    draw(cells, folder / f"{step:08}.png")


def _thumbnail(picture: Path) -> Image.Image | None:
    try:
        image = attachments.read_picture(picture).image
    except InputError:
        return None
    return ImageOps.fit(image, (CELL, CELL))
