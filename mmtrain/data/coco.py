"""COCO captions, as downloaded: annotations/captions_*.json beside the folders of images.

Format: https://cocodataset.org/#format-data, "Image Captioning".
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from mmtrain.data.dataset import NO_VALIDATION_NOTE, Example, Split, hold_out
from mmtrain.data.referenced_files import FileFinder
from mmtrain.data.skip_report import SkipReport
from mmtui.errors import InputError
from mmtui.files import read_json

CAPTION_QUESTION = "Describe this picture."
LAYOUT_HINT = "COCO's archives unpack to train2017/ and val2017/ beside annotations/"


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
class CaptionedImage:
    """An image file and its captions, at least one."""

    image: Path
    captions: tuple[str, ...]


@dataclass(frozen=True)
class CaptionSplit:
    """Captioned images, split as the examples of a `Split` are."""

    train: list[CaptionedImage]
    validation: list[CaptionedImage]
    notes: list[str]


def is_layout(root: Path) -> bool:
    """Return whether a folder holds COCO captions."""
    return any((root / "annotations").glob("captions_*.json"))


def is_validation_file(file: Path) -> bool:
    """Return whether an annotation file holds the validation captions."""
    return file.stem.startswith("captions_val")


def load_examples(root: Path) -> Split:
    """Load every caption as an example that answers CAPTION_QUESTION; see `load_split`."""
    split = load_split(root)
    return Split(to_examples(split.train), to_examples(split.validation), split.notes)


def load_split(root: Path) -> CaptionSplit:
    """Load the captioned images of all annotation files.

    captions_val*.json validates; without such a file, a tenth of the images is held out.

    Raises:
        InputError: A file is not in COCO's format, there is nothing to train on, or more than a
            few images are missing.
    """
    files = sorted((root / "annotations").glob("captions_*.json"))
    notes: list[str] = []
    train: list[CaptionedImage] = []
    validation: list[CaptionedImage] = []
    for file in sorted(files, key=is_validation_file):
        part = validation if is_validation_file(file) else train
        part += load_captioned_images(file, notes)
    if not train:
        raise InputError(
            f"{root / 'annotations'} has no captions_train*.json",
            "captions_val*.json is used for validation only",
        )
    if validation:
        validation_images = {item.image for item in validation}
        train = [item for item in train if item.image not in validation_images]
    else:
        train, validation = hold_out(train, lambda item: item.image.name)
    if not validation:
        notes.append(NO_VALIDATION_NOTE)
    return CaptionSplit(train, validation, notes)


def load_captioned_images(annotations: Path, notes: list[str]) -> list[CaptionedImage]:
    """Load the images of an annotation file that exist, each with its captions.

    Args:
        annotations: annotations/captions_NAME.json; its images are in the folder NAME.
        notes: Sentences about what was skipped are appended to it.

    Raises:
        InputError: The file is not in COCO's format, or more than a few of its images are missing.
    """
    try:
        data = TypeAdapter(_Captions).validate_python(read_json(annotations))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{annotations} contains no COCO captions: {field}: {first['msg']}"
        ) from None
    skipped_captions, skipped_images = SkipReport(), SkipReport()
    captions: dict[int, list[str]] = {image.id: [] for image in data.images}
    for number, annotation in enumerate(data.annotations):
        caption = " ".join(annotation.caption.split())
        if annotation.image_id not in captions:
            skipped_captions.add("its image is not listed", f"annotation {number}")
        elif not caption:
            skipped_captions.add("it is empty", f"annotation {number}")
        else:
            captions[annotation.image_id].append(caption)
    captioned = [image for image in data.images if captions[image.id]]
    if not captioned:
        raise InputError(f"{annotations} contains no caption of its images")
    folder = annotations.parents[1] / annotations.stem.removeprefix("captions_")
    finder = FileFinder("image", [folder])
    items = []
    for image in captioned:
        if path := finder.find(image.file_name):
            items.append(CaptionedImage(path, tuple(captions[image.id])))
        else:
            skipped_images.add("it is missing", repr(image.file_name))
    finder.raise_for_missing(annotations, LAYOUT_HINT)
    notes += skipped_images.notes("image", annotations.name)
    notes += skipped_captions.notes("caption", annotations.name)
    return items


def to_examples(images: list[CaptionedImage]) -> list[Example]:
    """Return an example for each caption: CAPTION_QUESTION about the image, and the caption."""
    return [
        Example(
            f"{item.image.name}#{number}",
            (("user", (item.image, CAPTION_QUESTION)), ("assistant", (caption,))),
        )
        for item in images
        for number, caption in enumerate(item.captions)
    ]
