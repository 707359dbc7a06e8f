"""One LLaVA-Instruct set out of captions, labels, dialogues and text, with tests beside it.

OUT holds llava_instruct.json, llava_instruct_val.json (a tenth of the pictures, split by
picture; captions_val*.json wholly) and images/. Questions with short answers are rows of their
own, whichever dialogue they come from. Of the held-out pictures there are tests for
`mmtrain eval vqa`: name/ asks what labelled things are, present/ whether things are there,
answer/ the questions of the dialogues.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from mmtrain.data import coco, llava, redpajama
from mmtrain.data.dataset import Example
from mmtrain.recipes import pseudo_labels, question_templates
from mmtrain.recipes.question_templates import NAME, Photo, Row
from mmtui.pipeline.assets.fetch import Report, silent

PASSAGES, WORDS = 600, 60  # rows of text, and words that they give and ask for
SEVERAL = 1.0  # rows of two pictures for each picture
FEW = 8  # words of an answer to a question that stands alone


# Files -> features (width,) of those that are pictures.
Look = Callable[[Sequence[Path]], dict[Path, np.ndarray]]


@dataclass
class _Part:
    """What is known of the pictures on one side of the split."""

    captioned: list[Photo] = field(default_factory=list)
    labelled: list[Photo] = field(default_factory=list)
    dialogues: list[dict[str, Any]] = field(default_factory=list)


def mix(
    captions: Sequence[Path],
    dialogues: Sequence[Path],
    texts: Sequence[Path],
    out: Path,
    seed: int,
    elsewhere: int = 0,
    look: Look | None = None,
    report: Report = silent,
) -> list[str]:
    """Write the set into `out`, a new folder; returns notes of what was left out.

    Questions that stand alone are asked `elsewhere` too, so many times over, of what `look` sees.
    A COCO set whose every picture has one caption, "A photo of a ...", is one of labels. Raises
    InputError for data in another layout.
    """
    pictures = _Pictures(out / "images")
    train, held, notes = _Part(), _Part(), []
    for root in captions:
        split = coco.load_split(root)
        notes += split.notes
        for part, items in ((train, split.train), (held, split.validation)):
            photos = [Photo(pictures.add(item.image), item.captions) for item in items]
            part.labelled += [photo for photo in photos if photo.label]
            part.captioned += [photo for photo in photos if not photo.label]
    for file in dialogues:
        read = llava.load_examples(file)
        notes += read.notes
        for part, examples in ((train, read.train), (held, read.validation)):
            for example in examples:
                part.dialogues += _apart(_row(example, pictures))
    chance = Random(seed)
    rows = [*_rows(train, chance), *train.dialogues, *_passages(texts)]
    chance.shuffle(rows)
    if look:
        alone = [row for row in train.dialogues if _stands_alone(row)]
        again = list(
            pseudo_labels.asked_elsewhere(
                alone, elsewhere, partial(pictures.seen, look), Random(seed), report
            )
        )
        notes += [] if again else ["too few questions, answers or pictures to ask elsewhere"]
        rows += again
    held_rows = [*_rows(held, chance), *held.dialogues]
    chance.shuffle(held_rows)
    pictures.copy(report)
    _write(out / "llava_instruct.json", rows)
    if held_rows:
        _write(out / "llava_instruct_val.json", held_rows)
    _tests(held, out, Random(seed))  # the same ones, whatever is taught
    return notes


class _Pictures:
    """Files from many folders under names of one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[Path, str] = {}

    def add(self, file: Path) -> str:
        """Its name in the set: the order decides, whatever the folders are called."""
        return self._names.setdefault(file, f"{len(self._names):06}{file.suffix.lower()}")

    def seen(self, look: Look, names: Sequence[str]) -> dict[str, np.ndarray]:
        files = {name: file for file, name in self._names.items()}
        features = look([files[name] for name in names])
        return {self._names[file]: values for file, values in features.items()}

    def copy(self, report: Report) -> None:
        self._folder.mkdir(parents=True)
        for number, (file, name) in enumerate(self._names.items()):
            report("copying pictures", number, len(self._names))
            shutil.copyfile(file, self._folder / name)


def _rows(part: _Part, chance: Random) -> Iterator[dict[str, Any]]:
    rows = [
        *question_templates.describing(part.captioned, chance),
        *question_templates.naming(part.labelled, chance),
        *question_templates.presence(part.captioned, 4, chance, varied=True),
        *question_templates.presence(part.labelled, 1, chance, varied=True),
    ]
    for photos in (part.captioned, part.labelled):
        if len(photos) > 1:
            rows += question_templates.several(photos, int(SEVERAL * len(photos)), chance)
    for row in rows:
        said = []
        for number, (question, answer) in enumerate(row.turns):
            marks = "<image>\n" * (len(row.images) - _marks(row)) if number == 0 else ""
            said += llava.format_exchange(marks + question, answer)
        yield {"image": list(row.images), "conversations": said}


def _marks(row: Row) -> int:
    return sum(question.count("<image>") for question, _ in row.turns)


def _row(example: Example, pictures: _Pictures) -> dict[str, Any]:
    """An example of a LLaVA-Instruct set, with its pictures under their new names."""
    speakers = {"user": "human", "assistant": "gpt", "system": "system"}
    said = []
    for role, content in example.turns:
        value = "\n".join(p.strip() if isinstance(p, str) else "<image>" for p in content)
        said.append({"from": speakers[role], "value": value})
    row: dict[str, Any] = {"id": example.name, "conversations": said}
    if example.pictures:
        row["image"] = [pictures.add(picture) for picture in example.pictures]
    return row


def _apart(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Questions about one picture that have answers of a few words, each in a row of its own.

    So they are asked later; in one dialogue the model would learn to lean on earlier answers.
    """
    parts = [
        row | {"conversations": llava.format_exchange(f"<image>\n{question}", answer)}
        for question, answer in _exchanges(row["conversations"])
    ]
    yield from parts if all(map(_stands_alone, parts)) else [row]


def _stands_alone(row: dict[str, Any]) -> bool:
    """Whether it is one question about one picture, with an answer of a few words."""
    said = row["conversations"]
    is_one = len(said) == 2 and len(row.get("image", [])) == 1
    return is_one and len(said[1]["value"].split()) <= FEW


def _passages(texts: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Text to go on with: what keeps a language model what it was."""
    files = [file for path in texts for file in redpajama.find_files(path)]
    long = (
        words for text in redpajama.iter_documents(files) if len(words := text.split()) >= 2 * WORDS
    )
    for words in islice(long, PASSAGES):
        given, wanted = " ".join(words[:WORDS]), " ".join(words[WORDS : 2 * WORDS])
        yield {"conversations": llava.format_exchange(f"Continue this text.\n\n{given}", wanted)}


def _tests(held: _Part, out: Path, chance: Random) -> None:
    names = [
        {"image": photo.image, "question": NAME, "answer": _bare(photo.label or "")}
        for photo in held.labelled
    ]
    present = [
        {"image": row.images[0], "question": question, "answer": answer.rstrip(".").lower()}
        for photos in (held.captioned, held.labelled)
        for row in question_templates.presence(photos, 2, chance)
        for question, answer in row.turns
    ]
    answers = [
        {"image": row["image"][0], "question": question, "answer": answer.rstrip(".").lower()}
        for row in held.dialogues
        if len(row.get("image", [])) == 1
        for question, answer in _exchanges(row["conversations"])
    ]
    for name, questions in (("name", names), ("present", present), ("answer", answers)):
        if not questions:
            continue
        folder = out / name / "images"
        folder.mkdir(parents=True)
        for image in {question["image"] for question in questions}:
            shutil.copyfile(out / "images" / image, folder / image)
        _write(out / name / "questions.json", questions)


def _bare(label: str) -> str:
    return label.removeprefix("a ").removeprefix("an ")


def _exchanges(said: list[dict[str, str]]) -> Iterator[tuple[str, str]]:
    for asked, answered in pairwise(said):
        if asked["from"] == "human":
            lines = [line for line in asked["value"].split("\n") if line != "<image>"]
            yield "\n".join(lines).strip(), answered["value"]


def _write(file: Path, document: Any) -> None:
    text = json.dumps(document, indent=1, ensure_ascii=False)
    file.write_text(f"{text}\n", "utf-8", errors="replace")  # JSON allows lone surrogates
