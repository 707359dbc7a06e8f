"""What a data set for reading is made from: photos, labelled pictures and words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import NamedTuple

from pydantic import BaseModel, TypeAdapter, ValidationError

from mmtrain.data import coco, redpajama
from mmtrain.data.coco import CaptionedImage
from mmtrain.data.referenced_files import FileFinder
from mmtrain.recipes.reading.drawing import FontFamily, find_fonts
from mmtrain.recipes.reading.words import Words, choose_words, collect_words
from mmtui.errors import InputError
from mmtui.files import read_json

LABELS_FILE = "labels.json"
_MAX_DOCUMENTS = 3000  # of the texts from which words are collected


class _Row(BaseModel):
    image: str
    text: str


class LabelledPicture(NamedTuple):
    """A picture, and the text that is written in it."""

    file: Path
    text: str


@dataclass(frozen=True)
class Locations:
    """Where the material is.

    Attributes:
        photos: Folders in COCO's layout, whose photos documents are drawn on.
        labelled: Folder with labels.json, a list of {"image", "text"}, or None.
        texts: RedPajama files to take words from.
        fonts: Folders with fonts.
    """

    photos: Sequence[Path] = ()
    labelled: Path | None = None
    texts: Sequence[Path] = ()
    fonts: Sequence[Path] = ()


@dataclass(frozen=True)
class Material:
    """The photos, labelled pictures, fonts and words of one side of the split."""

    photos: Sequence[CaptionedImage]
    labelled: Sequence[LabelledPicture]
    fonts: Sequence[FontFamily]
    common_words: Sequence[str]
    names: Sequence[str]

    @property
    def photo_files(self) -> list[Path]:
        """The files of the photos."""
        return [photo.image for photo in self.photos]

    def make_words(self, rng: Random) -> Words:
        """Return a generator of words."""
        return Words(rng, self.common_words, self.names)


def load_material(locations: Locations) -> tuple[Material, Material]:
    """Load the material to train on, and the held-out material.

    Photos are split as by `coco.load_split`. The second half of the labelled pictures is held out,
    so that several crops of a photo, one after the other, are on one side.

    Raises:
        InputError: Data is in another layout.
    """
    splits = [coco.load_split(root) for root in locations.photos]
    labelled = _load_labelled(locations.labelled) if locations.labelled else []
    middle = (len(labelled) + 1) // 2
    fonts, held_out_fonts = find_fonts(locations.fonts)
    common, names = collect_words(_iter_texts(locations.texts))
    train = Material(
        [photo for split in splits for photo in split.train],
        labelled[:middle],
        fonts,
        choose_words(common, held_out=False),
        choose_words(names, held_out=False),
    )
    held_out = Material(
        [photo for split in splits for photo in split.validation],
        labelled[middle:],
        held_out_fonts,
        choose_words(common, held_out=True),
        choose_words(names, held_out=True),
    )
    return train, held_out


def _load_labelled(folder: Path) -> list[LabelledPicture]:
    file = folder / LABELS_FILE
    if not file.is_file():
        raise InputError(f"{folder} contains no {LABELS_FILE}", "put it beside the pictures")
    try:
        rows = TypeAdapter(list[_Row]).validate_python(read_json(file))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InputError(f"{file} is not a list of labels: {field}: {first['msg']}") from None
    finder = FileFinder("image", [folder, folder / "images"])
    found = [(finder.find(row.image), " ".join(row.text.split())) for row in rows]
    finder.raise_for_missing(file, "put the pictures beside labels.json")
    return [LabelledPicture(picture, text) for picture, text in found if picture and text]


def _iter_texts(paths: Sequence[Path]) -> Iterator[str]:
    files = [file for path in paths for file in redpajama.find_files(path)]
    return islice(redpajama.iter_documents(files), _MAX_DOCUMENTS)
