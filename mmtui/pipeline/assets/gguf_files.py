"""The files of a GGUF model."""

import re
from dataclasses import dataclass
from pathlib import Path

from mmtui.errors import InputError, MissingError, MmtuiError
from mmtui.paths import resolve
from mmtui.pipeline.gguf.header import MAGIC, read_header

SUFFIX = ".gguf"
_SHARD = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.I)


@dataclass(frozen=True)
class GgufFiles:
    """The files of a GGUF model, which llama.cpp runs unchanged.

    Attributes:
        name: The name of the model.
        shards: The file, or all files of a model that is split, in order.
    """

    name: str
    shards: tuple[Path, ...]


def find(model: str) -> GgufFiles | None:
    """Find the files of a GGUF that `--model` names.

    Args:
        model: The name of a file.

    Returns:
        The files, or None if this is not the path of a GGUF.

    Raises:
        MissingError: A file or a shard does not exist.
        InputError: The file is not a GGUF, or is damaged.
    """
    file = _resolve(model)
    if file is None or not _is_gguf(file):
        return None
    if not file.exists():
        raise MissingError(f"no such file: {file}", "check the name")
    shards = find_shards(file)
    if read_header(shards[0]).architecture == "clip":
        raise InputError(f"{file} is the vision tower of a model, not a model", "use the model")
    return GgufFiles(get_name(file), tuple(shards))


def get_name(file: Path) -> str:
    """Return the name of a model by one of its files."""
    shard = _SHARD.fullmatch(file.name)
    return shard["name"] if shard else file.name.removesuffix(file.suffix)


def find_shards(file: Path) -> list[Path]:
    """Return all files of a model by one of them, in order.

    Raises:
        MissingError: A shard does not exist.
    """
    if (shard := _SHARD.fullmatch(file.name)) is None:
        return [file]
    count = int(shard["count"])
    name = shard["name"]
    shards = [
        file.with_name(f"{name}-{number:05}-of-{count:05}{file.suffix}")
        for number in range(1, count + 1)
    ]
    missing = [shard for shard in shards if not shard.exists()]
    if missing or not shards:
        raise MissingError(
            f"{(missing or [file])[0]} is missing: the model is split into {count} files",
            f"download all files of {name} into one folder",
        )
    return shards


def _resolve(name: str) -> Path | None:
    """Resolve a path; return None if the name is not a path."""
    try:
        return resolve(name)
    except (OSError, ValueError, MmtuiError):  # not a path: too long, a NUL, a URL
        return None


def _is_gguf(file: Path) -> bool:
    """Return whether a file is a GGUF, by its name or its first bytes."""
    try:
        if file.suffix.lower() == SUFFIX:
            return not file.is_dir()
        if not file.is_file():
            return False
        with file.open("rb") as opened:
            return opened.read(len(MAGIC)) == MAGIC
    except OSError:
        return False
