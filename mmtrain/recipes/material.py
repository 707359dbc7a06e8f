"""The photos and dialogues of a mix, and which of them are held out."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mmtrain.data import coco, llava
from mmtrain.data.dataset import Example
from mmtrain.recipes.question_templates import Photo
from mmtui.pipeline.assets.fetch import Report

T = TypeVar("T")

MAX_SHORT_ANSWER_WORDS = 8  # a question with such an answer becomes a separate row

# Returns the features (width,) of image files, without those that are broken.
FeatureLoader = Callable[[Sequence[Path]], dict[Path, np.ndarray]]


@dataclass
class Material:
    """The photos and dialogues of one side of the split."""

    captioned: list[Photo] = field(default_factory=list)
    labelled: list[Photo] = field(default_factory=list)
    dialogues: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Sources:
    """All material, split by photo.

    Attributes:
        notes: What was skipped, one sentence for each reason.
    """

    train: Material
    validation: Material
    notes: list[str]

    def get_side(self, is_held_out: bool) -> Material:
        """Return the material of one side."""
        return self.validation if is_held_out else self.train


class ImageFolder:
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


def load_sources(
    captions: Sequence[Path], dialogues: Sequence[Path], images: ImageFolder
) -> Sources:
    """Load captions, labels and dialogues.

    A file that is in several sources, such as captions and dialogues about the same photos, is on
    the side where the first of them has it.

    Raises:
        InputError: Data is in another layout.
    """
    sources = Sources(Material(), Material(), [])
    held_out: dict[Path, bool] = {}  # by file, of the sources so far
    for root in captions:
        captioned = coco.load_split(root)
        sources.notes.extend(captioned.notes)
        earlier = dict(held_out)
        for item, is_own in _tag(captioned.train, captioned.validation):
            is_held_out = _is_held_out([item.image], earlier, default=is_own)
            held_out.setdefault(item.image.resolve(), is_held_out)
            photo = Photo(images.add(item.image), item.captions)
            side = sources.get_side(is_held_out)
            (side.labelled if photo.label else side.captioned).append(photo)
    for file in dialogues:
        split = llava.load_examples(file)
        sources.notes.extend(split.notes)
        earlier = dict(held_out)
        for example, is_own in _tag(split.train, split.validation):
            is_held_out = _is_held_out(example.pictures, earlier, default=is_own)
            held_out |= {
                picture.resolve(): is_held_out
                for picture in example.pictures
                if picture.resolve() not in held_out
            }
            side = sources.get_side(is_held_out)
            side.dialogues += _split_short_questions(_to_row(example, images))
    return sources


def is_short_question(row: dict[str, Any]) -> bool:
    """Return whether a row is one question about one picture with an answer of a few words."""
    conversation = row["conversations"]
    is_single = len(conversation) == 2 and len(row.get("image", [])) == 1
    return is_single and len(conversation[1]["value"].split()) <= MAX_SHORT_ANSWER_WORDS


def list_exchanges(conversation: list[dict[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the questions of a conversation, without image tags, and their answers."""
    for message, reply in pairwise(conversation):
        if message["from"] == "human":
            lines = [line for line in message["value"].split("\n") if line != "<image>"]
            yield "\n".join(lines).strip(), reply["value"]


def _tag(train: Sequence[T], validation: Sequence[T]) -> Iterator[tuple[T, bool]]:
    """Yield the items of both parts, and whether they are held out."""
    yield from ((item, False) for item in train)
    yield from ((item, True) for item in validation)


def _is_held_out(pictures: Sequence[Path], earlier: Mapping[Path, bool], *, default: bool) -> bool:
    """Return whether an earlier source holds out a picture; the default if it has none."""
    known = [earlier[path] for path in map(Path.resolve, pictures) if path in earlier]
    return any(known) if known else default


def _to_row(example: Example, images: ImageFolder) -> dict[str, Any]:
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
        for question, answer in list_exchanges(row["conversations"])
    ]
    yield from parts if all(map(is_short_question, parts)) else [row]
