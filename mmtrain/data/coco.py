"""COCO captions, as downloaded: annotations/captions_*.json beside the folders of images."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from mmtrain.data.examples import NOTHING_HELD_OUT, Example, Split, hold_out
from mmtrain.data.skipped import Skipped
from mmtrain.data.usable import NamedFiles
from mmtui.errors import InputError
from mmtui.files import read_json

QUESTION = "Describe this picture."
LAYOUT = "COCO's archives unpack to train2017/ and val2017/ beside annotations/"


class _Image(BaseModel):
    id: int
    file_name: str


class _Annotation(BaseModel):
    image_id: int
    caption: str


class _Captions(BaseModel):
    images: list[_Image]
    annotations: list[_Annotation]


@dataclass(frozen=True)
class Captioned:
    """An image file and what people say about it."""

    image: Path
    captions: tuple[str, ...]


def is_layout(root: Path) -> bool:
    return any((root / "annotations").glob("captions_*.json"))


@dataclass(frozen=True)
class CaptionSplit:
    """As `Split`, by image."""

    train: list[Captioned]
    validation: list[Captioned]
    notes: list[str]


def read(root: Path) -> Split:
    """Every caption an example, asked for by QUESTION; split and errors are those of `split`."""
    found = split(root)
    return Split(examples_of(found.train), examples_of(found.validation), found.notes)


def split(root: Path) -> CaptionSplit:
    """captions_val*.json validates; where there is none, a tenth of the images is held out.

    Raises InputError for JSON that is not COCO's, and for images that are not there.
    """
    files = sorted((root / "annotations").glob("captions_*.json"))
    notes: list[str] = []
    train = [c for f in files if not validates(f) for c in captioned(f, notes)]
    validation = [c for f in files if validates(f) for c in captioned(f, notes)]
    if not train:
        raise InputError(f"{root / 'annotations'} has no captions_train*.json")
    if validation:
        seen = {item.image for item in validation}
        train = [item for item in train if item.image not in seen]
    else:
        train, validation = hold_out(train, lambda item: item.image.name)
    if not validation:
        notes.append(NOTHING_HELD_OUT)
    return CaptionSplit(train, validation, notes)


def captioned(annotations: Path, notes: list[str]) -> list[Captioned]:
    """The images of one annotation file that are there, each with its captions.

    What is left out is told in `notes`.

    Raises:
        InputError: The file is not COCO's, or more than a few of its images are missing.
    """
    try:
        data = TypeAdapter(_Captions).validate_python(read_json(annotations))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{annotations} holds no COCO captions: {where}: {first['msg']}") from None
    skipped_captions, skipped_images = Skipped(), Skipped()
    captions: dict[int, list[str]] = {image.id: [] for image in data.images}
    for number, annotation in enumerate(data.annotations):
        text = " ".join(annotation.caption.split())
        if annotation.image_id not in captions:
            skipped_captions.add("its image is not listed", f"annotation {number}")
        elif not text:
            skipped_captions.add("it is empty", f"annotation {number}")
        else:
            captions[annotation.image_id].append(text)
    named = [image for image in data.images if captions[image.id]]
    if not named:
        raise InputError(f"{annotations} holds no caption of its images")
    folder = annotations.parents[1] / annotations.stem.removeprefix("captions_")
    pictures = NamedFiles("image", [folder])
    items = []
    for image in named:
        if place := pictures.find(image.file_name):
            items.append(Captioned(place, tuple(captions[image.id])))
        else:
            skipped_images.add("it is missing", repr(image.file_name))
    pictures.require(annotations, LAYOUT)
    notes += skipped_images.notes("image", annotations.name)
    notes += skipped_captions.notes("caption", annotations.name)
    return items


def validates(file: Path) -> bool:
    return file.stem.startswith("captions_val")


def examples_of(images: list[Captioned]) -> list[Example]:
    return [
        Example(
            f"{item.image.name}#{number}",
            (("user", (item.image, QUESTION)), ("assistant", (caption,))),
        )
        for item in images
        for number, caption in enumerate(item.captions)
    ]
