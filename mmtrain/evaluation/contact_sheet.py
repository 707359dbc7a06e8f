"""Contact sheets: a grid of pictures, each with a text beneath it."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from mmtui.errors import InputError
from mmtui.files import replacing
from mmtui.pipeline import input_files


@dataclass(frozen=True)
class Sample:
    """A model's answer about a picture of the validation data, with the reference answer."""

    name: str
    picture: Path | None
    question: str
    answer: str
    reference: str


COLUMNS = 4
CELL, MARGIN, LINE = 220, 8, 17  # pixels: side of a picture, space between, height of a line


def draw_sheet(cells: list[tuple[Path | None, str]], file: Path) -> None:
    """Write a PNG of pictures, each with its complete text beneath it.

    A picture that is None or broken leaves its cell blank.

    Raises:
        InputError: `file` is a device, a link or a folder.
    """
    font: Any = ImageFont.load_default(13)
    texts = [_wrap(text, font.getlength) for _, text in cells]
    rows = range(0, len(cells), COLUMNS)
    heights = [CELL + LINE * max(map(len, texts[at : at + COLUMNS])) + 2 * MARGIN for at in rows]
    size = (COLUMNS * (CELL + MARGIN), sum(heights) or CELL)
    sheet = Image.new("RGB", size, "white")
    pen: Any = ImageDraw.Draw(sheet)
    for number, (picture, _) in enumerate(cells):
        row, column = divmod(number, COLUMNS)
        left = column * (CELL + MARGIN) + MARGIN // 2
        top = sum(heights[:row]) + MARGIN // 2
        if picture is not None and (image := _thumbnail(picture)) is not None:
            sheet.paste(image, (left, top))
        for line, text in enumerate(texts[number]):
            pen.text((left, top + CELL + 2 + LINE * line), text, "black", font)
    with replacing(file) as temporary:
        sheet.save(temporary, "PNG")


def write_samples(out: Path, step: int, samples: list[Sample]) -> None:
    """Write the samples of a step to OUT/samples/STEP.jsonl and, as a sheet, STEP.png."""
    folder = out / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(asdict(s) | {"picture": s.picture and s.picture.name}) for s in samples]
    (folder / f"{step:08}.jsonl").write_text("".join(line + "\n" for line in lines))
    cells = [(s.picture, f"{s.question}\n{s.answer}\n({s.reference})") for s in samples]
    draw_sheet(cells, folder / f"{step:08}.png")


def _wrap(text: str, length: Callable[[str], float]) -> list[str]:
    """Split `text` into lines whose `length` is at most CELL; longer words are broken."""
    lines = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            joined = f"{line} {word}" if line else word
            if line and length(joined) > CELL:
                lines.append(line)
                joined = word
            line = ""
            for character in joined:
                if length(line + character) > CELL:
                    lines.append(line)
                    line = ""
                line += character
        lines.append(line)
    return [line for line in lines if line]


def _thumbnail(picture: Path) -> Image.Image | None:
    try:
        image = input_files.read_picture(picture).image
    except InputError:
        return None
    return ImageOps.fit(image, (CELL, CELL))
