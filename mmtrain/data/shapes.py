"""A synthetic data set: pictures of coloured shapes with captions, questions and text.

The same seed gives the same bytes. The layouts are COCO captions (annotations/, train2017/,
val2017/), LLaVA-Instruct (llava_instruct.json; its images are those of train2017/), questions
for an evaluation (vqa/questions.json, vqa/images/) and RedPajama text (text.jsonl).
"""

import json
import random
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from mmtrain.data.llava import format_exchange
from mmtui.pipeline.assets.fetch import Report, ignore_progress

COLOURS = {
    "red": (214, 40, 40), "green": (42, 157, 80), "blue": (38, 84, 200), "yellow": (245, 200, 40),
    "purple": (130, 60, 170), "orange": (240, 130, 30), "black": (30, 30, 30),
    "pink": (240, 130, 190),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle", "star")
SIZES = {"small": 0.16, "large": 0.34}  # as a fraction of the picture's side
PLACES = {  # the centre (x, y) of a shape, as fractions of the side
    "top left": (0.25, 0.25), "top right": (0.75, 0.25),
    "bottom left": (0.25, 0.75), "bottom right": (0.75, 0.75), "centre": (0.5, 0.5),
}  # fmt: skip
BACKGROUNDS = ((255, 255, 255), (235, 235, 228), (222, 232, 240))
NUMBERS = ("no", "one", "two", "three", "four")
SIDE = 224  # pixels


@dataclass(frozen=True)
class Shape:
    """A shape in a picture."""

    kind: str
    colour: str
    size: str
    place: str

    @property
    def name(self) -> str:
        """The words for it in a text, such as "small red circle"."""
        return f"{self.size} {self.colour} {self.kind}"


def generate(out: Path, count: int, seed: int, report: Report = ignore_progress) -> None:
    """Draw pictures and write them with their captions, questions and text.

    Args:
        out: The folder to write.
        count: Number of pictures; a tenth of them is for validation.
        seed: Decides what is drawn.
        report: Called with the progress.
    """
    validation_count = max(count // 10, 1)
    texts: list[str] = []
    drawn_count = 0
    for split, numbers in (
        ("train2017", range(validation_count, count)),
        ("val2017", range(validation_count)),
    ):
        scenes = {
            f"{number:012}.png": _choose_scene(random.Random(f"{seed} {number}"))
            for number in numbers
        }
        folder = out / split
        folder.mkdir(parents=True, exist_ok=True)
        for name, (shapes, background) in scenes.items():
            report("drawing shapes", drawn_count, count)
            drawn_count += 1
            _draw(shapes, background).save(folder / name)
        _write_json(out / "annotations" / f"captions_{split}.json", _to_coco(scenes))
        texts += [caption for shapes, _ in scenes.values() for caption in _write_captions(shapes)]
        if split == "val2017":
            _write_vqa(out, scenes)
        else:
            _write_json(out / "llava_instruct.json", _to_llava(scenes))
    report("drawing shapes", count, count)
    random.Random(seed).shuffle(texts)
    documents = [" ".join(texts[at : at + 20]) for at in range(0, len(texts), 20)]
    lines = [json.dumps({"text": document, "meta": {"source": "shapes"}}) for document in documents]
    (out / "text.jsonl").write_text("".join(line + "\n" for line in lines))


Scene = tuple[list[Shape], tuple[int, int, int]]  # shapes and the background


def _choose_scene(rng: random.Random) -> Scene:
    """Choose one shape, two different ones, or two to four equal ones to count."""
    places = rng.sample(list(PLACES)[:4], 4)
    kinds = list(product(SHAPES, COLOURS))
    background = rng.choice(BACKGROUNDS)
    size = rng.choice(list(SIZES))
    composition = rng.random()
    if composition < 0.45:
        shape, colour = rng.choice(kinds)
        return [Shape(shape, colour, size, rng.choice(list(PLACES)))], background
    if composition < 0.75:
        pair = rng.sample(kinds, 2)
        while pair[0][0] == pair[1][0] or pair[0][1] == pair[1][1]:
            pair = rng.sample(kinds, 2)
        return [Shape(s, c, size, p) for (s, c), p in zip(pair, places, strict=False)], background
    shape, colour = rng.choice(kinds)
    return [Shape(shape, colour, size, place) for place in places[: rng.randint(2, 4)]], background


def _write_captions(shapes: list[Shape]) -> list[str]:
    first = shapes[0]
    if len(shapes) == 1:
        return [
            f"A {first.name} in the {first.place}."
            if first.place == "centre"
            else f"A {first.name} at the {first.place}.",
            f"There is one {first.colour} {first.kind}.",
        ]
    if len({shape.name for shape in shapes}) == 1:
        number = NUMBERS[len(shapes)]
        return [
            f"{number.capitalize()} {first.name}s.",
            f"There are {number} {first.colour} {first.kind}s.",
        ]
    second = shapes[1]
    return [
        f"A {first.name} {_describe_relation(first, second)} a {second.name}.",
        f"There is a {second.colour} {second.kind} and a {first.colour} {first.kind}.",
    ]


def _describe_relation(first: Shape, second: Shape) -> str:
    (x, y), (other_x, other_y) = PLACES[first.place], PLACES[second.place]
    if x != other_x:
        return "left of" if x < other_x else "right of"
    return "above" if y < other_y else "below"


def _write_questions(shapes: list[Shape], rng: random.Random) -> list[tuple[str, str]]:
    """Return questions and answers, ordered so that no question contains a later answer.

    Otherwise a model would learn to answer from the dialogue instead of the picture.
    """
    first, count = shapes[0], NUMBERS[len(shapes)]
    if len({shape.name for shape in shapes}) == 1:
        pronoun, noun = ("it", "shape") if len(shapes) == 1 else ("they", "shapes")
        verb = "is" if len(shapes) == 1 else "are"
        exchanges = [
            (f"What colour {verb} {pronoun}?", first.colour),
            (f"What {noun} {verb} there?", _inflect(first.kind, shapes)),
            (f"Small or large, what {verb} {pronoun}?", first.size),
            ("How many are there?", count),
        ]
        if len(shapes) == 1:
            exchanges.append(("Where is it?", first.place))
        rng.shuffle(exchanges)
    else:
        second = shapes[1]
        known, sought = (first, second) if rng.random() < 0.5 else (second, first)
        exchanges = [
            (f"What colour is the {known.kind}?", known.colour),
            (f"What shape is {sought.colour}?", sought.kind),
        ]
        rng.shuffle(exchanges)
        exchanges.append((f"Where is the {sought.kind}?", sought.place))
        relation = _describe_relation(known, sought)
        exchanges.append(
            (f"What is {relation} the {sought.kind}?", f"the {known.colour} {known.kind}")
        )
    return [(question, f"{answer.capitalize()}.") for question, answer in exchanges]


def _inflect(noun: str, shapes: list[Shape]) -> str:
    return noun if len(shapes) == 1 else f"{noun}s"


def _draw(shapes: list[Shape], background: tuple[int, int, int]) -> Image.Image:
    scale = 4  # drawing at a larger scale and reducing smooths the edges
    image = Image.new("RGB", (SIDE * scale, SIDE * scale), background)
    pen = ImageDraw.Draw(image)
    for shape in shapes:
        x, y = (part * SIDE * scale for part in PLACES[shape.place])
        radius = SIZES[shape.size] * SIDE * scale / 2
        box = (x - radius, y - radius, x + radius, y + radius)
        fill = COLOURS[shape.colour]
        if shape.kind == "circle":
            pen.ellipse(box, fill)
        elif shape.kind == "square":
            pen.rectangle(box, fill)
        elif shape.kind == "triangle":
            pen.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill)
        else:
            pen.polygon(_list_star_corners(x, y, radius), fill)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _list_star_corners(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    from math import cos, pi, sin

    radii = [radius if corner % 2 == 0 else 0.42 * radius for corner in range(10)]
    return [
        (x + r * sin(corner * pi / 5), y - r * cos(corner * pi / 5))
        for corner, r in enumerate(radii)
    ]


def _to_coco(scenes: dict[str, Scene]) -> dict[str, Any]:
    images = [
        {"id": int(Path(name).stem), "file_name": name, "width": SIDE, "height": SIDE}
        for name in scenes
    ]
    captions = [
        (int(Path(name).stem), caption)
        for name, (shapes, _) in scenes.items()
        for caption in _write_captions(shapes)
    ]
    annotations = [
        {"id": number, "image_id": image, "caption": caption}
        for number, (image, caption) in enumerate(captions)
    ]
    return {
        "info": {"description": "synthetic shapes"},
        "images": images,
        "annotations": annotations,
    }


def _to_llava(scenes: dict[str, Scene]) -> list[dict[str, Any]]:
    rows = []
    for name, (shapes, _) in scenes.items():
        messages: list[dict[str, str]] = []
        for question, answer in _write_questions(shapes, random.Random(name)):
            tag = "" if messages else "<image>\n"
            messages += format_exchange(tag + question, answer)
        rows.append({"id": Path(name).stem, "image": name, "conversations": messages})
    return rows


def _write_vqa(out: Path, scenes: dict[str, Scene]) -> None:
    folder = out / "vqa" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for name in scenes:
        (folder / name).write_bytes((out / "val2017" / name).read_bytes())
    rows = [
        {"image": name, "question": question, "answer": answer.rstrip(".").lower()}
        for name, (shapes, _) in scenes.items()
        for question, answer in _write_questions(shapes, random.Random(name))
    ]
    _write_json(out / "vqa" / "questions.json", rows)


def _write_json(file: Path, document: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1) + "\n")
