"""LLaVA-Instruct JSON: a list of {"id", "image", "conversations": [{"from", "value"}]}.

Format and data: https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K
"""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from mmtrain.data.dataset import NO_VALIDATION_NOTE, Content, Example, Split, hold_out
from mmtrain.data.referenced_files import FileFinder, is_inside
from mmtrain.data.skip_report import SkipReport
from mmtui.errors import InputError
from mmtui.files import find_encoding, read_json
from mmtui.pipeline.prompt import Role

QUESTIONS_FILE = "questions.json"  # belongs to the layout of mmtrain.data.vqa
_TAG = "<image>"
# Every tag. One in quotes or backticks is part of a text about tags.
_TAGS = re.compile(r"""(?<![`'"])<image>(?![`'"])""")
# Only the tags at the start of a question or alone on a line, which are never part of a text.
_PLACED_TAGS = re.compile(r"(?:\A|(?<=<image>))\s*<image>|^[ \t]*<image>[ \t]*$", re.MULTILINE)
_ROLES: dict[str, Role] = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
    "system": "system",
}  # fmt: skip


class _Message(BaseModel):
    speaker: str = Field(alias="from")
    value: str


class _Row(BaseModel):
    id: Any = None
    image: str | list[str] | None = None
    images: str | list[str] | None = None
    conversations: list[_Message]

    @property
    def image_names(self) -> list[str]:
        names = self.image or self.images or []
        return [name for name in ([names] if isinstance(names, str) else names) if name]


class _UnusableRowError(Exception):
    """A row that can't be trained on; its message is the reason."""


def is_layout(path: Path) -> bool:
    """Return whether a path is LLaVA-Instruct JSON, or a folder with one such file."""
    return find_file(path) is not None


def find_file(path: Path) -> Path | None:
    """Return `path` if it is JSON, else the only list of training rows in the folder, or None."""
    if path.suffix.lower() == ".json" and path.is_file():
        return path
    files = [
        file
        for file in sorted(path.glob("*.json"))
        if not is_validation_file(file) and file.name != QUESTIONS_FILE and _starts_with_list(file)
    ]
    return files[0] if len(files) == 1 else None


def format_exchange(question: str, answer: str) -> list[dict[str, str]]:
    """Return a question and its answer as two messages of a row's "conversations"."""
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def is_validation_file(file: Path) -> bool:
    """Return whether the rows of a file validate."""
    return file.stem.endswith("_val")


def load_examples(path: Path, images: Path | None = None) -> Split:
    """Load the rows of a file, each as an example.

    The rows of NAME_val.json beside NAME.json validate. Without such a file, a tenth of the images
    is held out with its rows. Unusable rows are skipped; the notes count them by reason.

    Args:
        path: The JSON file, or the folder with it.
        images: The folder of the images; None searches images/, train2017/ and the folder of the
            file, and of a file in annotations/ also the train2017/ beside that folder.

    Raises:
        InputError: The file is not a list of rows, more than a few of its images are missing, or
            no row is left.
    """
    file = find_file(path)
    if file is None:
        raise InputError(
            f"{path} contains no LLaVA-Instruct JSON, or more than one file", "pass the file itself"
        )
    train, notes = _load_rows(file, images)
    validation_file = file.with_stem(f"{file.stem}_val")
    if validation_file.is_file():
        validation, more = _load_rows(validation_file, images)
        return Split(train, validation, notes + more)
    train, validation = hold_out(train, _get_split_key)
    return Split(train, validation, notes if validation else [*notes, NO_VALIDATION_NOTE])


def _list_image_folders(file: Path, images: Path | None) -> list[Path]:
    """Return the folders that are searched for the images of a file."""
    if images:
        return [images]
    folders = [file.parent / "images", file.parent / "train2017", file.parent]
    if file.parent.name == "annotations":  # beside COCO's images
        folders.append(file.parents[1] / "train2017")
    return folders


def _load_rows(file: Path, images: Path | None) -> tuple[list[Example], list[str]]:
    """Return the examples of a file, and notes about skipped rows."""
    rows = read_json(file)
    if not isinstance(rows, list):
        raise InputError(f"{file} is not LLaVA-Instruct data: it must be a list of rows")
    finder, skipped = FileFinder("image", _list_image_folders(file, images)), SkipReport()
    examples = []
    for number, row in enumerate(rows, 1):
        try:
            examples.append(_to_example(row, number, finder))
        except _UnusableRowError as error:
            skipped.add(str(error), f"row {number}")
    finder.raise_for_missing(file, "put them there, or pass --images DIR")
    notes = skipped.notes("row", file.name)
    if not examples:
        raise InputError(f"{file} has no row to train on", "; ".join(notes) or "it is empty")
    return examples, notes


def _starts_with_list(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            head = opened.read(64)
    except OSError:  # a folder of that name, for example
        return False
    return head.decode(find_encoding(head), errors="ignore").lstrip().startswith("[")


def _get_split_key(example: Example) -> str:
    """Return the key of `hold_out`: rows about the same first image stay together."""
    return example.pictures[0].name if example.pictures else example.name


def _to_example(content: Any, number: int, finder: FileFinder) -> Example:
    row = _parse_row(content)
    pictures = [_find_picture(name, finder) for name in row.image_names]
    messages = [(_get_role(message), message.value) for message in row.conversations]
    turns = _insert_pictures(messages, pictures)
    while turns and turns[-1][0] != "assistant":  # a question without an answer
        turns.pop()
    _check_turns(turns)
    return Example(f"row {number}" if row.id in (None, "") else str(row.id), tuple(turns))


def _parse_row(content: Any) -> _Row:
    if not isinstance(content, dict):
        raise _UnusableRowError("it is not a JSON object")
    try:
        return _Row.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise _UnusableRowError(f'"{first["loc"][0]}": {first["msg"]}') from None


def _find_picture(name: str, finder: FileFinder) -> Path:
    picture = finder.find(name)
    if picture is None and is_inside(name):
        raise _UnusableRowError("an image is missing")
    if picture is None:
        raise _UnusableRowError("an image's path leads outside of the data")
    return picture


def _get_role(message: _Message) -> Role:
    role = _ROLES.get(message.speaker.lower())
    if role is None:
        raise _UnusableRowError(f"unknown speaker {message.speaker!r}")
    return role


def _insert_pictures(
    messages: list[tuple[Role, str]], pictures: list[Path]
) -> list[tuple[Role, Content]]:
    """Return turns in which the tags of questions are replaced by the pictures, in order.

    Without tags, all pictures come before the first question. Tags in answers are text.
    """
    questions = [text for role, text in messages if role == "user"]
    tags = _choose_tag_pattern(questions, len(pictures))
    remaining = list(pictures)
    turns: list[tuple[Role, Content]] = []
    for role, text in messages:
        content: list[str | Path] = [text]
        if role == "user" and tags is not None:
            first, *rest = tags.split(text)
            content = [first]
            for piece in rest:
                content += [remaining.pop(0), piece]
        elif role == "user" and remaining:
            content = [*remaining, text]
            remaining.clear()
        turns.append((role, tuple(p for p in content if isinstance(p, Path) or p.strip())))
    return [turn for turn in turns if turn[0] != "system" or turn[1]]


def _choose_tag_pattern(questions: list[str], pictures: int) -> re.Pattern[str] | None:
    """Return the pattern that finds as many tags as there are pictures, or None without tags."""

    def count(tags: re.Pattern[str]) -> int:
        return sum(len(tags.findall(text)) for text in questions)

    if not pictures:
        if count(_PLACED_TAGS):
            raise _UnusableRowError(f"an {_TAG} tag but no image")
        return None
    if not count(_TAGS):
        return None
    for tags in (_TAGS, _PLACED_TAGS):
        if count(tags) == pictures:
            return tags
    raise _UnusableRowError(f"the numbers of {_TAG} tags and of images differ")


def _check_turns(turns: list[tuple[Role, Content]]) -> None:
    roles = [role for role, _ in turns if role != "system"]
    if roles[:2] != ["user", "assistant"] or any(a == b for a, b in pairwise(roles)):
        raise _UnusableRowError("human and gpt do not alternate")
    if any(role == "system" for role, _ in turns[1:]):
        raise _UnusableRowError("a system message after the first message")
    for role, content in turns:
        if not content:
            raise _UnusableRowError(f"an empty {'answer' if role == 'assistant' else 'question'}")
        if role == "assistant" and str(content[0]).strip() == _TAG:
            raise _UnusableRowError(f"an answer that is only {_TAG}")
