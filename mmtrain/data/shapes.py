"""A synthetic set: coloured shapes, with captions, questions and plain text about them.

The same seed gives the same bytes. Layouts: COCO captions (annotations/, train2017/,
val2017/), LLaVA-Instruct (llava_instruct.json; its images are those of train2017/), questions
to score (vqa/questions.json, vqa/images/) and RedPajama text (text.jsonl).
"""

import json
import random
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from mmtrain.data.llava import format_exchange
from mmtui.pipeline.assets.fetch import Report, silent

COLOURS = {
    "red": (214, 40, 40), "green": (42, 157, 80), "blue": (38, 84, 200), "yellow": (245, 200, 40),
    "purple": (130, 60, 170), "orange": (240, 130, 30), "black": (30, 30, 30),
    "pink": (240, 130, 190),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle", "star")
SIZES = {"small": 0.16, "large": 0.34}  # of the picture's side
PLACES = {
    "top left": (0.25, 0.25), "top right": (0.75, 0.25),
    "bottom left": (0.25, 0.75), "bottom right": (0.75, 0.75), "centre": (0.5, 0.5),
}  # fmt: skip
GROUNDS = ((255, 255, 255), (235, 235, 228), (222, 232, 240))
NUMBERS = ("no", "one", "two", "three", "four")
SIDE = 224


@dataclass(frozen=True)
class Thing:
    shape: str
    colour: str
    size: str
    place: str

    @property
    def name(self) -> str:
        return f"{self.size} {self.colour} {self.shape}"


def generate(out: Path, count: int, seed: int, report: Report = silent) -> None:
    """Write `count` images, a tenth of them for validation, and all that is said of them."""
    held = max(count // 10, 1)
    texts: list[str] = []
    drawn = 0
    for split, numbers in (("train2017", range(held, count)), ("val2017", range(held))):
        scenes = {
            f"{number:012}.png": _scene(random.Random(f"{seed} {number}")) for number in numbers
        }
        folder = out / split
        folder.mkdir(parents=True, exist_ok=True)
        for name, (things, ground) in scenes.items():
            report("drawing shapes", drawn, count)
            drawn += 1
            _draw(things, ground).save(folder / name)
        _write(out / "annotations" / f"captions_{split}.json", _coco(scenes))
        texts += [caption for things, _ in scenes.values() for caption in _captions(things)]
        if split == "val2017":
            _vqa(out, scenes)
        else:
            _write(out / "llava_instruct.json", _llava(scenes))
    report("drawing shapes", count, count)
    random.Random(seed).shuffle(texts)
    documents = [" ".join(texts[at : at + 20]) for at in range(0, len(texts), 20)]
    lines = [json.dumps({"text": document, "meta": {"source": "shapes"}}) for document in documents]
    (out / "text.jsonl").write_text("".join(line + "\n" for line in lines))


Scene = tuple[list[Thing], tuple[int, int, int]]


def _scene(chance: random.Random) -> Scene:
    """One thing, two of a kind or not, or up to four of one kind to count."""
    places = chance.sample(list(PLACES)[:4], 4)
    kinds = list(product(SHAPES, COLOURS))
    ground = chance.choice(GROUNDS)
    size = chance.choice(list(SIZES))
    drawn = chance.random()
    if drawn < 0.45:
        shape, colour = chance.choice(kinds)
        return [Thing(shape, colour, size, chance.choice(list(PLACES)))], ground
    if drawn < 0.75:
        pair = chance.sample(kinds, 2)
        while pair[0][0] == pair[1][0] or pair[0][1] == pair[1][1]:
            pair = chance.sample(kinds, 2)
        return [Thing(s, c, size, p) for (s, c), p in zip(pair, places, strict=False)], ground
    shape, colour = chance.choice(kinds)
    return [Thing(shape, colour, size, place) for place in places[: chance.randint(2, 4)]], ground


def _captions(things: list[Thing]) -> list[str]:
    first = things[0]
    if len(things) == 1:
        return [
            f"A {first.name} in the {first.place}."
            if first.place == "centre"
            else f"A {first.name} at the {first.place}.",
            f"There is one {first.colour} {first.shape}.",
        ]
    if len({thing.name for thing in things}) == 1:
        number = NUMBERS[len(things)]
        return [
            f"{number.capitalize()} {first.name}s.",
            f"There are {number} {first.colour} {first.shape}s.",
        ]
    second = things[1]
    return [
        f"A {first.name} {_relation(first, second)} a {second.name}.",
        f"There is a {second.colour} {second.shape} and a {first.colour} {first.shape}.",
    ]


def _relation(first: Thing, second: Thing) -> str:
    (x, y), (other_x, other_y) = PLACES[first.place], PLACES[second.place]
    if x != other_x:
        return "left of" if x < other_x else "right of"
    return "above" if y < other_y else "below"


def _questions(things: list[Thing], chance: random.Random) -> list[tuple[str, str]]:
    """Questions in an order in which no question tells the answer to a later one.

    Else a model would learn to read the dialogue, not to look.
    """
    first, count = things[0], NUMBERS[len(things)]
    if len({thing.name for thing in things}) == 1:
        them, shape = ("it", "shape") if len(things) == 1 else ("they", "shapes")
        verb = "is" if len(things) == 1 else "are"
        asked = [
            (f"What colour {verb} {them}?", first.colour),
            (f"What {shape} {verb} there?", _plural(first.shape, things)),
            (f"Small or large, what {verb} {them}?", first.size),
            ("How many are there?", count),
        ]
        if len(things) == 1:
            asked.append(("Where is it?", first.place))
        chance.shuffle(asked)
    else:
        second = things[1]
        known, sought = (first, second) if chance.random() < 0.5 else (second, first)
        asked = [
            (f"What colour is the {known.shape}?", known.colour),
            (f"What shape is {sought.colour}?", sought.shape),
        ]
        chance.shuffle(asked)
        asked.append((f"Where is the {sought.shape}?", sought.place))
        relation = _relation(known, sought)
        asked.append(
            (f"What is {relation} the {sought.shape}?", f"the {known.colour} {known.shape}")
        )
    return [(question, f"{answer.capitalize()}.") for question, answer in asked]


def _plural(noun: str, things: list[Thing]) -> str:
    return noun if len(things) == 1 else f"{noun}s"


def _draw(things: list[Thing], ground: tuple[int, int, int]) -> Image.Image:
    scale = 4  # drawn large and reduced: smooth edges
    image = Image.new("RGB", (SIDE * scale, SIDE * scale), ground)
    pen = ImageDraw.Draw(image)
    for thing in things:
        x, y = (part * SIDE * scale for part in PLACES[thing.place])
        radius = SIZES[thing.size] * SIDE * scale / 2
        box = (x - radius, y - radius, x + radius, y + radius)
        fill = COLOURS[thing.colour]
        if thing.shape == "circle":
            pen.ellipse(box, fill)
        elif thing.shape == "square":
            pen.rectangle(box, fill)
        elif thing.shape == "triangle":
            pen.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill)
        else:
            pen.polygon(_star(x, y, radius), fill)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _star(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    from math import cos, pi, sin

    radii = [radius if corner % 2 == 0 else 0.42 * radius for corner in range(10)]
    return [
        (x + r * sin(corner * pi / 5), y - r * cos(corner * pi / 5))
        for corner, r in enumerate(radii)
    ]


def _coco(scenes: dict[str, Scene]) -> dict[str, Any]:
    images = [
        {"id": int(Path(name).stem), "file_name": name, "width": SIDE, "height": SIDE}
        for name in scenes
    ]
    said = [
        (int(Path(name).stem), caption)
        for name, (things, _) in scenes.items()
        for caption in _captions(things)
    ]
    annotations = [
        {"id": number, "image_id": image, "caption": caption}
        for number, (image, caption) in enumerate(said)
    ]
    return {
        "info": {"description": "synthetic shapes"},
        "images": images,
        "annotations": annotations,
    }


def _llava(scenes: dict[str, Scene]) -> list[dict[str, Any]]:
    rows = []
    for name, (things, _) in scenes.items():
        said: list[dict[str, str]] = []
        for question, answer in _questions(things, random.Random(name)):
            mark = "" if said else "<image>\n"
            said += format_exchange(mark + question, answer)
        rows.append({"id": Path(name).stem, "image": name, "conversations": said})
    return rows


def _vqa(out: Path, scenes: dict[str, Scene]) -> None:
    folder = out / "vqa" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for name in scenes:
        (folder / name).write_bytes((out / "val2017" / name).read_bytes())
    rows = [
        {"image": name, "question": question, "answer": answer.rstrip(".").lower()}
        for name, (things, _) in scenes.items()
        for question, answer in _questions(things, random.Random(name))
    ]
    _write(out / "vqa" / "questions.json", rows)


def _write(file: Path, document: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1) + "\n")
