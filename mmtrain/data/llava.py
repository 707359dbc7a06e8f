"""LLaVA-Instruct JSON: a list of {"id", "image", "conversations": [{"from", "value"}]}.

Format and data: https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K
"""

import json
from itertools import pairwise
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, Field, ValidationError

from mmtrain.data.examples import Content, Example, Split, hold_out
from mmtui.errors import InputError
from mmtui.pipeline.prompt import Role

_MARK = "<image>"
_ROLES: dict[str, Role] = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
    "system": "system",
}  # fmt: skip


class _Said(BaseModel):
    speaker: str = Field(alias="from")
    value: str


class _Row(BaseModel):
    id: str | int = ""
    image: str | list[str] | None = None
    conversations: list[_Said]


class _OddRowError(Exception):
    """A row that can't be trained on."""


class _MissingImageError(Exception):
    """A row whose image is not there."""


def is_layout(path: Path) -> bool:
    return file_in(path) is not None


def file_in(path: Path) -> Path | None:
    """The JSON file that `path` is, or the only list of rows to train on in the folder `path`."""
    if path.suffix == ".json" and path.is_file():
        return path
    found = [f for f in sorted(path.glob("*.json")) if not validates(f) and _begins_a_list(f)]
    return found[0] if len(found) == 1 else None


def exchange(question: str, answer: str) -> list[dict[str, str]]:
    """A question and its answer, as a row's "conversations" has them."""
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def validates(file: Path) -> bool:
    return file.stem.endswith("_val")


def read(path: Path, images: Path | None = None) -> Split:
    """The rows of a file, each an example.

    Those of NAME_val.json beside NAME.json validate; where there is none, a tenth is held out,
    split by image. Images are looked for in `images`, or in images/, train2017/ and beside the
    file. Rows whose image is missing, and odd ones, are counted and skipped. Raises InputError
    if the file is no list of rows, or no row is left.
    """
    file = file_in(path)
    if file is None:
        raise InputError(f"{path} holds no LLaVA-Instruct JSON, or several")
    train, notes = _rows(file, images)
    beside = file.with_stem(f"{file.stem}_val")
    if beside.is_file():
        validation, more = _rows(beside, images)
        return Split(train, validation, notes + more)
    train, validation = hold_out(train, _key)
    return Split(train, validation, notes)


def _rows(file: Path, images: Path | None) -> tuple[list[Example], list[str]]:
    """The examples of one file, and notes of what was skipped."""
    try:
        rows = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} can't be read as JSON: {error}") from error
    if not isinstance(rows, list):
        raise InputError(f"{file} is no LLaVA-Instruct data: it must be a list of rows")
    folders = (
        [images] if images else [file.parent / "images", file.parent / "train2017", file.parent]
    )
    examples, missing, odd = [], 0, []
    for number, row in enumerate(rows):
        try:
            examples.append(_example(_Row.model_validate(row), number, folders))
        except _MissingImageError:
            missing += 1
        except (ValidationError, _OddRowError) as error:
            odd.append(f"row {number}: {_first_line(error)}")
    notes = []
    if missing:
        notes.append(f"{file.name}: {missing:,} rows are skipped, their images are missing")
    if odd:
        notes.append(f"{file.name}: {len(odd):,} odd rows are skipped, as {odd[0]}")
    if not examples:
        raise InputError(f"{file} has no row to train on", "; ".join(notes) or "it is empty")
    return examples, notes


def _begins_a_list(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(64).lstrip().startswith(b"[")


def _key(example: Example) -> str:
    return example.pictures[0].name if example.pictures else example.name


def _example(row: _Row, number: int, folders: list[Path]) -> Example:
    names = [row.image] if isinstance(row.image, str) else row.image or []
    pictures = [_find(name, folders) for name in names]
    marks = sum(said.value.count(_MARK) for said in row.conversations)
    if marks and marks != len(pictures):
        raise _OddRowError(f"{marks} {_MARK} for {len(pictures)} images")
    turns: list[tuple[Role, Content]] = []
    for said in row.conversations:
        role = _ROLES.get(said.speaker)
        if role is None:
            raise _OddRowError(f"unknown speaker {said.speaker!r}")
        turns.append((role, _content(said.value, pictures)))
    _check(turns)
    if pictures and not marks:  # an image that no turn names belongs to the first question
        first = next(n for n, (role, _) in enumerate(turns) if role == "user")
        turns[first] = ("user", (*pictures, *turns[first][1]))
    while turns[-1][0] != "assistant":
        turns.pop()
    return Example(str(row.id) or f"row {number}", tuple(turns))


def _check(turns: list[tuple[Role, Content]]) -> None:
    spoken = [role for role, _ in turns if role != "system"]
    if spoken[:2] != ["user", "assistant"] or any(a == b for a, b in pairwise(spoken)):
        raise _OddRowError("human and gpt do not take turns")
    if any(role == "system" for role, _ in turns[1:]):
        raise _OddRowError("a system turn that is not the first")
    for role, content in turns:
        if role == "assistant" and [type(part) for part in content] != [str]:
            raise _OddRowError("an answer that is empty, or holds an image")


def _content(text: str, pictures: list[Path]) -> Content:
    """Text with each mark replaced by the next of `pictures`, which are used up."""
    first, *rest = text.split(_MARK)
    content: list[str | Path] = [first]
    for piece in rest:
        content += [pictures.pop(0), piece]
    return tuple(part for part in content if isinstance(part, Path) or part.strip())


def _find(name: str, folders: list[Path]) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise _OddRowError(f"the image {name!r} leads out of the data")
    for folder in folders:
        if (folder / path).is_file():
            return folder / path
    raise _MissingImageError(name)


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))} {first['msg']}"
    return str(error)
