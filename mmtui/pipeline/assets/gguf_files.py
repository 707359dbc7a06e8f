"""The files of a GGUF model: its shards, and the mmproj beside them that lets it see."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from mmtui.errors import InputError, MissingError, MmtuiError, UsageError
from mmtui.paths import resolve
from mmtui.pipeline.gguf.header import MAGIC, Header, read_header

SUFFIX = ".gguf"
MMPROJ_OPTION = " --mmproj "  # between two files, in the name of a model
_SHARD = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.I)
_MMPROJ_PREFERENCE = ("f16", "bf16", "q8_0", "f32")  # of several types, the first is used


@dataclass(frozen=True)
class GgufFiles:
    """The files of a GGUF model, which llama.cpp runs unchanged.

    Attributes:
        name: The name of the model.
        shards: The file, or all files of a model that is split, in order.
        mmproj: The file with the vision tower; None if there is none.
        picture_side: Width and height in pixels of what the tower sees; 0 without a tower.
        can_hear: Whether the mmproj has an audio tower.
    """

    name: str
    shards: tuple[Path, ...]
    mmproj: Path | None = None
    picture_side: int = 0
    can_hear: bool = False


def add_mmproj(model: str, mmproj: str | Path) -> str:
    """Return the name of a GGUF model with the mmproj that it uses.

    Raises:
        UsageError: No model is named.
    """
    if model == "auto":
        raise UsageError("--mmproj needs --model", "--model MODEL.gguf --mmproj FILE")
    return f"{model}{MMPROJ_OPTION}{mmproj}"


def find(model: str) -> GgufFiles | None:
    """Find the files of a GGUF that `--model` names.

    Args:
        model: The name of a file, which can be followed by " --mmproj " and the name of another.

    Returns:
        The files, or None if this is not the path of a GGUF.

    Raises:
        MissingError: A file or a shard does not exist.
        InputError: A file is not a GGUF, or is damaged, or the mmproj is for another model.
        UsageError: There is an mmproj for a model that is no GGUF.
    """
    name, has_option, chosen = model.partition(MMPROJ_OPTION)
    file = _resolve(name)
    if file is None or not _is_gguf(file):
        if has_option:
            raise UsageError(f"--mmproj needs a GGUF file as the model; {name} is not one")
        return None
    if not file.exists():
        raise MissingError(f"no such file: {file}", "check the name")
    shards = find_shards(file)
    header = read_header(shards[0])
    if is_mmproj(header):
        raise InputError(
            f"{file} is the vision tower of a model, not a model",
            f"--model MODEL.gguf --mmproj {file.name}",
        )
    if has_option:
        mmproj: Header | None = read_mmproj(resolve(chosen), header)
    else:
        mmproj = find_mmproj(header)
    files = GgufFiles(get_name(file), tuple(shards))
    return files if mmproj is None else _with_mmproj(files, mmproj)


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


def is_mmproj(header: Header) -> bool:
    """Return whether a GGUF is the vision or audio tower of another model."""
    return header.architecture == "clip"


def can_see(mmproj: Header) -> bool:
    """Return whether an mmproj has a vision tower."""
    return bool(mmproj.values.get("clip.has_vision_encoder", not can_hear(mmproj)))


def can_hear(mmproj: Header) -> bool:
    """Return whether an mmproj has an audio tower."""
    return bool(mmproj.values.get("clip.has_audio_encoder"))


def fits(mmproj: Header, model: Header) -> bool:
    """Return whether an mmproj can be of a model: it computes embeddings of the model's size."""
    width = model.get_number(f"{model.architecture}.embedding_length")
    return any(
        width in tensor.shape
        for name, tensor in mmproj.tensors.items()
        if not name.startswith(("v.blk.", "a.blk."))
    )


def find_mmproj(model: Header) -> Header | None:
    """Find the mmproj that is beside a model.

    The files of several models can be in one folder: an mmproj that computes embeddings of another
    size, or whose metadata names another model, is left out.
    """
    found: list[Header] = []
    for file in sorted(model.path.parent.iterdir()):
        if "mmproj" not in file.name.lower() or file.suffix.lower() != SUFFIX:
            continue
        try:
            header = read_header(file)
        except InputError:  # `--mmproj FILE` reports it
            continue
        if is_mmproj(header) and fits(header, model) and not _differs(header, model):
            found.append(header)
    return min(found, key=lambda header: _rank(header.path), default=None)


def read_mmproj(file: Path, model: Header) -> Header:
    """Read the header of an mmproj for a model.

    Raises:
        MissingError: It does not exist.
        InputError: It is no mmproj, is damaged, or is for another model.
    """
    if not file.exists():
        raise MissingError(f"no such file: {file}", "check the name after --mmproj")
    header = read_header(file)
    if not is_mmproj(header):
        raise InputError(f"{file} is not an mmproj", "it holds a language model")
    header.check_complete()
    if not fits(header, model):
        width = model.get_number(f"{model.architecture}.embedding_length")
        raise InputError(
            f"{file} is for another model: it does not compute embeddings of {width} numbers",
            f"use the mmproj that belongs to {model.path.name}",
        )
    return header


def _with_mmproj(files: GgufFiles, mmproj: Header) -> GgufFiles:
    sees = can_see(mmproj)
    return replace(
        files,
        mmproj=mmproj.path if sees else None,
        picture_side=max(1, mmproj.get_number("clip.vision.image_size")) if sees else 0,
        can_hear=can_hear(mmproj),
    )


def _rank(file: Path) -> tuple[int, str]:
    name = file.name.lower()
    ranks = [
        rank
        for rank, kind in enumerate(_MMPROJ_PREFERENCE)
        if re.search(rf"(?<![a-z]){kind}(?![0-9])", name)
    ]
    return min(ranks, default=len(_MMPROJ_PREFERENCE)), name


def _differs(mmproj: Header, model: Header) -> bool:
    names = {header.get_text("general.basename").casefold() for header in (mmproj, model)}
    return len(names - {""}) > 1


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
