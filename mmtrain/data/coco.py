"""COCO captions, as downloaded: annotations/captions_*.json beside the folders of images."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, TypeAdapter, ValidationError

from mmtrain.data.examples import Example, Split, hold_out
from mmtui.errors import InputError

QUESTION = "Describe this picture."
MISSING_SHARE = 0.01  # of images that an annotation file names: more is a wrong layout


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
    return CaptionSplit(train, validation, notes)


def captioned(annotations: Path, notes: list[str]) -> list[Captioned]:
    """The images of one annotation file that are there, each with its captions."""
    try:
        data = TypeAdapter(_Captions).validate_json(annotations.read_bytes())
    except OSError as error:
        raise InputError(f"{annotations} can't be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{annotations} are no COCO captions: {where} {first['msg']}") from None
    folder = annotations.parents[1] / annotations.stem.removeprefix("captions_")
    captions = defaultdict(list)
    empty = 0
    for annotation in data.annotations:
        if text := " ".join(annotation.caption.split()):
            captions[annotation.image_id].append(text)
        else:
            empty += 1
    named = [image for image in data.images if captions[image.id]]
    there = [
        image for image in named if _plain(image.file_name) and (folder / image.file_name).is_file()
    ]
    missing = len(named) - len(there)
    if not named:
        raise InputError(f"{annotations} holds no caption of its images")
    if missing > MISSING_SHARE * len(named):
        raise InputError(
            f"{missing:,} of the {len(named):,} images of {annotations.name} are not in {folder}",
            "put them there; COCO's archives unpack to train2017/ and val2017/ beside annotations/",
        )
    if missing:
        notes.append(
            f"{annotations.name}: {missing:,} images are missing; their captions are skipped"
        )
    if empty:
        notes.append(f"{annotations.name}: {empty:,} empty captions are skipped")
    return [Captioned(folder / i.file_name, tuple(captions[i.id])) for i in there]


def validates(file: Path) -> bool:
    return file.stem.startswith("captions_val")


def _plain(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def examples_of(images: list[Captioned]) -> list[Example]:
    return [
        Example(
            f"{item.image.name}#{number}",
            (("user", (item.image, QUESTION)), ("assistant", (caption,))),
        )
        for item in images
        for number, caption in enumerate(item.captions)
    ]
