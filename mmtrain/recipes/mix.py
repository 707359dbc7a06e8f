"""One LLaVA-Instruct set out of captions, labels, dialogues and text, with tests beside it.

The output folder holds llava_instruct.json, llava_instruct_val.json (a tenth of the pictures, and
all of captions_val*.json) and images/. Questions with short answers are rows of their own, also
those of longer dialogues. The held-out pictures are the data of three tests for
`mmtrain eval vqa`: name/ asks for labels, present/ whether things are in a picture, answer/ the
questions of the dialogues.
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
from mmtrain.recipes.question_templates import NAME_QUESTION, Photo, QuestionRow
from mmtui.pipeline.assets.fetch import Report, ignore_progress

MAX_PASSAGES = 600  # rows of text to continue
PASSAGE_WORDS = 60  # words of the given text, and of its continuation
PAIRS_PER_PICTURE = 1.0  # rows of two pictures
MAX_SHORT_ANSWER_WORDS = 8  # a question with such an answer becomes a separate row

# Returns the features (width,) of image files, without those that are broken.
FeatureLoader = Callable[[Sequence[Path]], dict[Path, np.ndarray]]


@dataclass
class _Material:
    """The photos and dialogues of one side of the split."""

    captioned: list[Photo] = field(default_factory=list)
    labelled: list[Photo] = field(default_factory=list)
    dialogues: list[dict[str, Any]] = field(default_factory=list)


def mix(
    captions: Sequence[Path],
    dialogues: Sequence[Path],
    texts: Sequence[Path],
    out: Path,
    seed: int,
    pseudo_label_factor: int = 0,
    load_features: FeatureLoader | None = None,
    report: Report = ignore_progress,
) -> list[str]:
    """Write the set into a new folder.

    Args:
        captions: COCO sets. If a picture has one caption, "A photo of a ...", it is a label.
        dialogues: LLaVA-Instruct files.
        texts: RedPajama files.
        out: The folder to write.
        seed: Decides what is asked, and the order of the rows.
        pseudo_label_factor: How many pseudo-labelled rows to add for each short question.
        load_features: Features for the pseudo-labels; None adds none.
        report: Called with the progress.

    Returns:
        Notes about what was skipped.

    Raises:
        InputError: Data is in another layout.
    """
    images = _ImageFolder(out / "images")
    train, validation = _Material(), _Material()
    notes: list[str] = []
    for root in captions:
        captioned = coco.load_split(root)
        notes += captioned.notes
        for material, items in ((train, captioned.train), (validation, captioned.validation)):
            photos = [Photo(images.add(item.image), item.captions) for item in items]
            material.labelled += [photo for photo in photos if photo.label]
            material.captioned += [photo for photo in photos if not photo.label]
    for file in dialogues:
        split = llava.load_examples(file)
        notes += split.notes
        for material, examples in ((train, split.train), (validation, split.validation)):
            for example in examples:
                material.dialogues += _split_short_questions(_to_row(example, images))
    rng = Random(seed)
    rows = [*_question_rows(train, rng), *train.dialogues, *_passage_rows(texts)]
    rng.shuffle(rows)
    if load_features:
        pseudo_labelled = list(
            pseudo_labels.generate_pseudo_labels(
                [row for row in train.dialogues if _is_short_question(row)],
                pseudo_label_factor,
                partial(images.load_features, load_features),
                Random(seed),
                report,
            )
        )
        if not pseudo_labelled:
            notes.append("too few questions, answers or pictures to ask elsewhere")
        rows += pseudo_labelled
    validation_rows = [*_question_rows(validation, rng), *validation.dialogues]
    rng.shuffle(validation_rows)
    images.copy(report)
    _write_json(out / "llava_instruct.json", rows)
    if validation_rows:
        _write_json(out / "llava_instruct_val.json", validation_rows)
    # A fresh generator, so that the tests do not depend on the training rows.
    _write_tests(validation, out, Random(seed))
    return notes


class _ImageFolder:
    """The images of the set: files of many folders, copied into one under new names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[Path, str] = {}

    def add(self, file: Path) -> str:
        """Return the name of a file in the set, which depends only on the order of the calls."""
        return self._names.setdefault(file, f"{len(self._names):06}{file.suffix.lower()}")

    def load_features(
        self, load_features: FeatureLoader, names: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Return features by the names in the set."""
        files = {name: file for file, name in self._names.items()}
        features = load_features([files[name] for name in names])
        return {self._names[file]: values for file, values in features.items()}

    def copy(self, report: Report) -> None:
        """Copy all files into the folder."""
        self._folder.mkdir(parents=True)
        for number, (file, name) in enumerate(self._names.items()):
            report("copying pictures", number, len(self._names))
            shutil.copyfile(file, self._folder / name)


def _question_rows(material: _Material, rng: Random) -> Iterator[dict[str, Any]]:
    """Yield LLaVA-Instruct rows of questions made from captions and labels."""
    rows = [
        *question_templates.generate_caption_rows(material.captioned, rng),
        *question_templates.generate_name_rows(material.labelled, rng),
        *question_templates.generate_presence_rows(material.captioned, 4, rng, paraphrase=True),
        *question_templates.generate_presence_rows(material.labelled, 1, rng, paraphrase=True),
    ]
    for photos in (material.captioned, material.labelled):
        if len(photos) > 1:
            count = int(PAIRS_PER_PICTURE * len(photos))
            rows += question_templates.generate_pair_rows(photos, count, rng)
    for row in rows:
        conversation = []
        for number, (question, answer) in enumerate(row.turns):
            missing_tags = len(row.images) - _count_tags(row) if number == 0 else 0
            conversation += llava.format_exchange("<image>\n" * missing_tags + question, answer)
        yield {"image": list(row.images), "conversations": conversation}


def _count_tags(row: QuestionRow) -> int:
    return sum(question.count("<image>") for question, _ in row.turns)


def _to_row(example: Example, images: _ImageFolder) -> dict[str, Any]:
    """Return an example as a LLaVA-Instruct row, with the new names of its pictures."""
    speakers = {"user": "human", "assistant": "gpt", "system": "system"}
    conversation = []
    for role, content in example.turns:
        value = "\n".join(p.strip() if isinstance(p, str) else "<image>" for p in content)
        conversation.append({"from": speakers[role], "value": value})
    row: dict[str, Any] = {"id": example.name, "conversations": conversation}
    if example.pictures:
        row["image"] = [images.add(picture) for picture in example.pictures]
    return row


def _split_short_questions(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row for each exchange if all are short questions about one picture, else the row.

    In one dialogue the model would learn to rely on earlier answers.
    """
    parts = [
        row | {"conversations": llava.format_exchange(f"<image>\n{question}", answer)}
        for question, answer in _exchanges(row["conversations"])
    ]
    yield from parts if all(map(_is_short_question, parts)) else [row]


def _is_short_question(row: dict[str, Any]) -> bool:
    """Return whether a row is one question about one picture with an answer of a few words."""
    conversation = row["conversations"]
    is_single = len(conversation) == 2 and len(row.get("image", [])) == 1
    return is_single and len(conversation[1]["value"].split()) <= MAX_SHORT_ANSWER_WORDS


def _passage_rows(texts: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield rows of text to continue, which keep the language model from forgetting."""
    files = [file for path in texts for file in redpajama.find_files(path)]
    documents = (text.split() for text in redpajama.iter_documents(files))
    long_documents = (words for words in documents if len(words) >= 2 * PASSAGE_WORDS)
    for words in islice(long_documents, MAX_PASSAGES):
        passage = " ".join(words[:PASSAGE_WORDS])
        continuation = " ".join(words[PASSAGE_WORDS : 2 * PASSAGE_WORDS])
        question = f"Continue this text.\n\n{passage}"
        yield {"conversations": llava.format_exchange(question, continuation)}


def _write_tests(validation: _Material, out: Path, rng: Random) -> None:
    names = [
        {
            "image": photo.image,
            "question": NAME_QUESTION,
            "answer": _strip_article(photo.label or ""),
        }
        for photo in validation.labelled
    ]
    present = [
        {"image": row.images[0], "question": question, "answer": answer.rstrip(".").lower()}
        for photos in (validation.captioned, validation.labelled)
        for row in question_templates.generate_presence_rows(photos, 2, rng)
        for question, answer in row.turns
    ]
    answers = [
        {"image": row["image"][0], "question": question, "answer": answer.rstrip(".").lower()}
        for row in validation.dialogues
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
        _write_json(out / name / "questions.json", questions)


def _strip_article(label: str) -> str:
    return label.removeprefix("a ").removeprefix("an ")


def _exchanges(conversation: list[dict[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the questions of a conversation, without image tags, and their answers."""
    for message, reply in pairwise(conversation):
        if message["from"] == "human":
            lines = [line for line in message["value"].split("\n") if line != "<image>"]
            yield "\n".join(lines).strip(), reply["value"]


def _write_json(file: Path, document: Any) -> None:
    text = json.dumps(document, indent=1, ensure_ascii=False)
    # Lone surrogates, which JSON allows, can't be encoded.
    file.write_text(f"{text}\n", "utf-8", errors="replace")
