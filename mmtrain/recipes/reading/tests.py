"""The tests of reading: held-out pictures with text, and photos without any."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from mmtrain.recipes.held_out import write_json
from mmtrain.recipes.reading import questions
from mmtrain.recipes.reading.documents import write_document
from mmtrain.recipes.reading.drawing import draw
from mmtrain.recipes.reading.sources import LabelledPicture, Material
from mmtui.pipeline.assets.fetch import Report

TEXT_PICTURES = 200  # of which up to half are labelled ones
NO_TEXT_PHOTOS = 100
_MAX_WHOLE_WORDS = 3  # of a text that must be in the answer as a whole
# Words of the captions of photos in which something may be written.
_WRITING = re.compile(
    r"\b(signs?|words?|text|letters?|numbers?|numbered|reads?|reading|says|written|writing|books?"
    r"|newspaper|magazine|screen|computers?|laptops?|tv|television|clocks?|posters?|banners?|logo"
    r"|name|jerseys?|uniforms?|labels?|bus|buses|trains?|trucks?|stores?|shops?|streets?|planes?"
    r"|airplanes?|race|racer|racing|teams?|players?|bottles?|boxes|box|keyboard|cars?|boats?)\b"
)


def write_text_test(out: Path, material: Material, rng: Random, report: Report) -> None:
    """Write one question each about labelled pictures and about drawn ones."""
    folder = out / "images"
    folder.mkdir(parents=True)
    items: list[dict[str, Any]] = []
    for picture in _spread(material.labelled, TEXT_PICTURES // 2):
        shutil.copyfile(picture.file, folder / picture.file.name)
        items.append(_ask_about_label(picture, rng))
    words = material.make_words(rng)
    for number in range(len(items), TEXT_PICTURES):
        report("drawing the test", number, TEXT_PICTURES)
        document = write_document(words, held_out=True)
        name = f"drawn_{number:03}.jpg"
        draw(document, material.fonts, material.photo_files, rng).save(folder / name, quality=88)
        fact = rng.choice(document.facts)
        question, _ = questions.ask(fact, rng)
        item = {"image": name, "question": question, "answers": _list_notations(fact.value)}
        items.append(item)
    write_json(out / "questions.json", items)


def write_no_text_test(out: Path, material: Material, rng: Random) -> None:
    """Write questions about photos whose captions mention nothing with writing on it."""
    photos = [
        photo
        for photo in material.photos
        if not any(_WRITING.search(caption.lower()) for caption in photo.captions)
    ]
    if not photos:
        return
    folder = out / "images"
    folder.mkdir(parents=True)
    items = []
    for number, photo in enumerate(rng.sample(photos, min(NO_TEXT_PHOTOS, len(photos)))):
        name = f"{number:03}{photo.image.suffix.lower()}"
        shutil.copyfile(photo.image, folder / name)
        question = questions.NO_TEXT_QUESTIONS[number % len(questions.NO_TEXT_QUESTIONS)]
        items.append({"image": name, "question": question, "answers": list(questions.NOTHING)})
    write_json(out / "questions.json", items)


def _ask_about_label(picture: LabelledPicture, rng: Random) -> dict[str, Any]:
    """Ask for a number if there is one, else for the text or, if that is long, a word of it."""
    item = {"image": picture.file.name, "question": rng.choice(questions.NO_TEXT_QUESTIONS[:2])}
    words = picture.text.split()
    numbers = [word for word in words if re.fullmatch(r"\d{2,}", word)]
    if numbers:
        return item | {"question": "Which number is written here?", "answer": numbers[0]}
    if len(words) <= _MAX_WHOLE_WORDS:
        return item | {"answer": picture.text}
    return item | {"answer": max(words, key=len)}


def _list_notations(value: str) -> list[str]:
    """Return a value with and without its currency sign."""
    amount = value.lstrip("$\N{POUND SIGN}\N{EURO SIGN}")
    return [value] if amount == value else [value, amount]


def _spread(pictures: Sequence[LabelledPicture], count: int) -> list[LabelledPicture]:
    """Return up to `count` pictures, evenly spaced, because neighbours are similar."""
    if len(pictures) <= count:
        return list(pictures)
    return [pictures[number * len(pictures) // count] for number in range(count)]
