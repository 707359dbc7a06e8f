"""The tests of a mix: questions and captions of the held-out pictures."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from mmtrain.recipes import question_templates
from mmtrain.recipes.material import Material, list_exchanges
from mmtrain.recipes.properties import Property
from mmtrain.recipes.property_questions import match_choices
from mmtrain.recipes.question_templates import NAME_QUESTION, Photo, strip_article
from mmtrain.recipes.which_picture import generate_group_tests

MAX_COLOR_QUESTIONS = 250
MIN_COLOR_CAPTIONS = 2  # that state the property; the others fill the test up
CAPTIONED_GROUPS = 70  # of photos with captions
LABELLED_GROUPS = 30  # of photos with labels

Item = dict[str, Any]


@dataclass(frozen=True)
class Knowledge:
    """Properties of things in the photos of both sides."""

    train: Sequence[Property]
    validation: Sequence[Property]


def write_tests(held_out: Material, knowledge: Knowledge, out: Path, seed: int) -> None:
    """Write a folder for each test that the held-out material suffices for.

    Each test has a random generator of its own, so that none depends on another.
    """
    properties = knowledge.validation
    tests: dict[str, Callable[[Random], Iterable[Item]]] = {
        "name": lambda _: _ask_names(held_out.labelled),
        "present": lambda rng: _ask_presence(held_out, rng),
        "answer": lambda _: _ask_dialogues(held_out, are_yes_no=False),
        "yes-no": lambda _: _ask_dialogues(held_out, are_yes_no=True),
        "colour": lambda rng: _ask_properties(knowledge, rng),
        "which": lambda rng: [
            *generate_group_tests(held_out.captioned, properties, CAPTIONED_GROUPS, rng),
            *generate_group_tests(held_out.labelled, [], LABELLED_GROUPS, rng),
        ],
    }
    for name, make in tests.items():
        if questions := list(make(Random(seed))):
            _write_questions(out, name, questions)
    if held_out.captioned:
        _write_captions(out, held_out.captioned)


def write_json(file: Path, document: Any) -> None:
    """Write a JSON file and the folder that it is in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    # Lone surrogates, which JSON allows, can't be encoded.
    file.write_text(f"{text}\n", "utf-8", errors="replace")


def _ask_names(photos: Sequence[Photo]) -> Iterator[Item]:
    for photo in photos:
        answer = strip_article(photo.label or "")
        yield {"image": photo.image, "question": NAME_QUESTION, "answer": answer}


def _ask_presence(held_out: Material, rng: Random) -> Iterator[Item]:
    for photos in (held_out.captioned, held_out.labelled):
        for row in question_templates.generate_presence_rows(photos, 2, rng):
            for question, answer in row.turns:
                yield _make_item(row.images[0], question, answer)


def _ask_dialogues(held_out: Material, *, are_yes_no: bool) -> Iterator[Item]:
    """Yield the questions about one picture that are answered with yes or no, or the others."""
    for row in held_out.dialogues:
        if len(row.get("image", [])) != 1:
            continue
        for question, answer in list_exchanges(row["conversations"]):
            item = _make_item(row["image"][0], question, answer)
            if (item["answer"] in ("yes", "no")) == are_yes_no:
                yield item


def _ask_properties(knowledge: Knowledge, rng: Random) -> Iterator[Item]:
    """Yield questions with two choices, first those that several captions answer."""
    known = [*knowledge.train, *knowledge.validation]
    sure = [found for found in knowledge.validation if found.captions >= MIN_COLOR_CAPTIONS]
    unsure = [found for found in knowledge.validation if found.captions < MIN_COLOR_CAPTIONS]
    choices = [*match_choices(sure, known, rng), *match_choices(unsure, known, rng)]
    for choice in choices[:MAX_COLOR_QUESTIONS]:
        item = _make_item(choice.asked.photo.image, choice.question, choice.asked.values[0])
        yield item | {"wrong": [choice.wrong]}


def _make_item(image: str, question: str, answer: str) -> Item:
    return {"image": image, "question": question, "answer": answer.rstrip(".").lower()}


def _write_questions(out: Path, name: str, questions: Sequence[Item]) -> None:
    messages = [message for item in questions for message in (item, *item.get("earlier", []))]
    images = {message["image"] for message in messages if "image" in message}
    images |= {image for message in messages for image in message.get("images", [])}
    _copy_images(out, images, out / name / "images")
    write_json(out / name / "questions.json", questions)


def _write_captions(out: Path, photos: Sequence[Photo]) -> None:
    """Write the photos and their captions in COCO's layout, for `mmtrain eval captions`."""
    _copy_images(out, {photo.image for photo in photos}, out / "captions" / "val2017")
    captions = [(number, text) for number, photo in enumerate(photos) for text in photo.captions]
    document = {
        "images": [{"id": n, "file_name": photo.image} for n, photo in enumerate(photos)],
        "annotations": [
            {"id": number, "image_id": image, "caption": caption}
            for number, (image, caption) in enumerate(captions)
        ],
    }
    write_json(out / "captions" / "annotations" / "captions_val2017.json", document)


def _copy_images(out: Path, images: Iterable[str], folder: Path) -> None:
    folder.mkdir(parents=True)
    for image in images:
        shutil.copyfile(out / "images" / image, folder / image)
