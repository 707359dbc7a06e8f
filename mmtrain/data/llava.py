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
from mmtui.files import encoding_of, read_json
from mmtui.pipeline.prompt import Role

QUESTIONS_FILE = "questions.json"  # of an evaluation's layout
_TAG = "<image>"
# A tag in quotes or backticks is one that people talk about.
_TAGS = re.compile(r"""(?<![`'"])<image>(?![`'"])""")
# Where only tags that stand for pictures are: before a question, or in a line of their own.
_PLACED_TAGS = re.compile(r"(?:\A|(?<=<image>))\s*<image>|^[ \t]*<image>[ \t]*$", re.MULTILINE)
_ROLES: dict[str, Role] = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
    "system": "system",
}  # fmt: skip


class _Said(BaseModel):
    speaker: str = Field(alias="from")
    value: str


class _Row(BaseModel):
    id: Any = None
    image: str | list[str] | None = None
    images: str | list[str] | None = None
    conversations: list[_Said]

    @property
    def names(self) -> list[str]:
        """Of its images."""
        given = self.image or self.images or []
        return [name for name in ([given] if isinstance(given, str) else given) if name]


class _OddRowError(Exception):
    """A row that can't be trained on, and why."""


def is_layout(path: Path) -> bool:
    return find_file(path) is not None


def find_file(path: Path) -> Path | None:
    """The JSON file that `path` is, or the only list of rows to train on in the folder `path`."""
    if path.suffix.lower() == ".json" and path.is_file():
        return path
    found = [
        file
        for file in sorted(path.glob("*.json"))
        if not is_validation_file(file) and file.name != QUESTIONS_FILE and _begins_a_list(file)
    ]
    return found[0] if len(found) == 1 else None


def format_exchange(question: str, answer: str) -> list[dict[str, str]]:
    """A question and its answer, as a row's "conversations" has them."""
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def is_validation_file(file: Path) -> bool:
    return file.stem.endswith("_val")


def load_examples(path: Path, images: Path | None = None) -> Split:
    """The rows of a file, each an example.

    Those of NAME_val.json beside NAME.json validate; where there is none, a tenth is held out,
    split by image. Images are looked for in `images`, or in images/, train2017/ and beside the
    file. Rows that can't be used are left out, and counted by reason in the notes.

    Raises:
        InputError: The file is not a list of rows, more than a few of its images are missing, or
            no row is left.
    """
    file = find_file(path)
    if file is None:
        raise InputError(f"{path} holds no LLaVA-Instruct JSON, or several", "name the file itself")
    train, notes = _rows(file, images)
    beside = file.with_stem(f"{file.stem}_val")
    if beside.is_file():
        validation, more = _rows(beside, images)
        return Split(train, validation, notes + more)
    train, validation = hold_out(train, _key)
    return Split(train, validation, notes if validation else [*notes, NO_VALIDATION_NOTE])


def _rows(file: Path, images: Path | None) -> tuple[list[Example], list[str]]:
    """The examples of one file, and notes of what was left out."""
    rows = read_json(file)
    if not isinstance(rows, list):
        raise InputError(f"{file} is no LLaVA-Instruct data: it must be a list of rows")
    folders = (
        [images] if images else [file.parent / "images", file.parent / "train2017", file.parent]
    )
    pictures, skipped, examples = FileFinder("image", folders), SkipReport(), []
    for number, row in enumerate(rows, 1):
        try:
            examples.append(_example(row, number, pictures))
        except _OddRowError as error:
            skipped.add(str(error), f"row {number}")
    pictures.raise_for_missing(file, "put them there, or name their folder with --images DIR")
    notes = skipped.notes("row", file.name)
    if not examples:
        raise InputError(f"{file} has no row to train on", "; ".join(notes) or "it is empty")
    return examples, notes


def _begins_a_list(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            head = opened.read(64)
    except OSError:  # a folder of that name, say
        return False
    return head.decode(encoding_of(head), errors="ignore").lstrip().startswith("[")


def _key(example: Example) -> str:
    return example.pictures[0].name if example.pictures else example.name


def _example(content: Any, number: int, pictures: FileFinder) -> Example:
    row = _validated(content)
    found = [_find(name, pictures) for name in row.names]
    turns = _placed([(_role(said), said.value) for said in row.conversations], found)
    while turns and turns[-1][0] != "assistant":  # a question that nobody answers
        turns.pop()
    _check(turns)
    return Example(f"row {number}" if row.id in (None, "") else str(row.id), tuple(turns))


def _validated(content: Any) -> _Row:
    if not isinstance(content, dict):
        raise _OddRowError("it is not a JSON object")
    try:
        return _Row.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise _OddRowError(f'"{first["loc"][0]}": {first["msg"]}') from None


def _find(name: str, pictures: FileFinder) -> Path:
    picture = pictures.find(name)
    if picture is None:
        inside = is_inside(name)
        raise _OddRowError(
            "an image is missing" if inside else "an image's path leads out of the data"
        )
    return picture


def _role(said: _Said) -> Role:
    role = _ROLES.get(said.speaker.lower())
    if role is None:
        raise _OddRowError(f"an unknown speaker, {said.speaker!r}")
    return role


def _placed(said: list[tuple[Role, str]], pictures: list[Path]) -> list[tuple[Role, Content]]:
    """Turns with the pictures where their tags are; tags in answers are text.

    Pictures without any tag come before the first question.
    """
    questions = [text for role, text in said if role == "user"]
    tags = _tags_of(questions, len(pictures))
    left = list(pictures)
    turns: list[tuple[Role, Content]] = []
    for role, text in said:
        content: list[str | Path] = [text]
        if role == "user" and tags is not None:
            first, *rest = tags.split(text)
            content = [first]
            for piece in rest:
                content += [left.pop(0), piece]
        elif role == "user" and left:
            content = [*left, text]
            left.clear()
        turns.append((role, tuple(p for p in content if isinstance(p, Path) or p.strip())))
    return [turn for turn in turns if turn[0] != "system" or turn[1]]


def _tags_of(questions: list[str], pictures: int) -> re.Pattern[str] | None:
    """What finds the tags that stand for so many pictures; None where none does."""

    def count(tags: re.Pattern[str]) -> int:
        return sum(len(tags.findall(text)) for text in questions)

    if not pictures:
        if count(_PLACED_TAGS):
            raise _OddRowError(f"an {_TAG} tag, but no image is named")
        return None
    if not count(_TAGS):
        return None
    for tags in (_TAGS, _PLACED_TAGS):
        if count(tags) == pictures:
            return tags
    raise _OddRowError(f"more or fewer {_TAG} tags than images")


def _check(turns: list[tuple[Role, Content]]) -> None:
    spoken = [role for role, _ in turns if role != "system"]
    if spoken[:2] != ["user", "assistant"] or any(a == b for a, b in pairwise(spoken)):
        raise _OddRowError("human and gpt do not take turns")
    if any(role == "system" for role, _ in turns[1:]):
        raise _OddRowError("a system turn that is not the first")
    for role, content in turns:
        if not content:
            raise _OddRowError(f"an empty {'answer' if role == 'assistant' else 'question'}")
        if role == "assistant" and str(content[0]).strip() == _TAG:
            raise _OddRowError(f"an answer that is only {_TAG}")
