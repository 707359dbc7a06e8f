"""The mmproj of a GGUF model: a second GGUF, with a vision or audio tower and its projector."""

import re
from collections.abc import Iterator
from pathlib import Path

from mmtui.errors import InputError, MissingError
from mmtui.pipeline.assets.gguf_header import Header, read_header

_TYPES = ("fp?16", "bf16", "q8_0", "fp?32")  # in the order of preference
_QUANTIZATION = re.compile(r"(?<![a-z0-9])(i?q\d(_\w+)?|bf16|fp?(16|32))(?![a-z0-9])", re.I)


def is_mmproj(header: Header) -> bool:
    """Return whether a GGUF is the vision or audio tower of another model."""
    return header.architecture == "clip"


def can_see(mmproj: Header) -> bool:
    """Return whether an mmproj has a vision tower."""
    return bool(mmproj.values.get("clip.has_vision_encoder", not can_hear(mmproj)))


def can_hear(mmproj: Header) -> bool:
    """Return whether an mmproj has an audio tower."""
    return bool(mmproj.values.get("clip.has_audio_encoder"))


def is_compatible(mmproj: Header, model: Header) -> bool:
    """Return whether an mmproj computes embeddings of the model's size."""
    width = model.get_number(f"{model.architecture}.embedding_length")
    return any(
        width in tensor.shape
        for name, tensor in mmproj.tensors.items()
        if not name.startswith(("v.blk.", "a.blk."))
    )


def find_mmproj(model: Header) -> Header | None:
    """Find the mmproj that is beside a model.

    The files of several models can be in one folder. The name of an mmproj is that of its model, or
    a beginning of it, beside words that any mmproj can have: "mmproj-model-f16.gguf",
    "gemma-3-4b-it-mmproj-Q8_0.gguf", "moondream2-mmproj-f16-20250414.gguf". Another name counts
    only if this is the only mmproj, and not that of another model in the folder.
    """
    candidates = find_candidates(model)
    own = _split_words(model.path)
    matches = {
        header.path: match
        for header in candidates
        if (match := _match(_split_words(header.path), own)) is not None
    }
    if matches:
        best = max(matches.values())
        named = [header for header in candidates if matches.get(header.path) == best]
        return min(named, key=lambda header: get_priority(header.path.name))
    files = list(_list_ggufs(model.path.parent))
    if len(candidates) != 1 or sum(map(_is_named_mmproj, files)) != 1:
        return None
    words = _split_words(candidates[0].path)
    others = (file for file in files if not _is_named_mmproj(file))
    is_taken = any(_match(words, _split_words(file)) is not None for file in others)
    return None if is_taken else candidates[0]


def find_candidates(model: Header) -> list[Header]:
    """Return the mmprojs beside a model that could be its own, whatever their names are.

    An mmproj that computes embeddings of another size, or whose metadata names another model, is
    left out.
    """
    found: list[Header] = []
    for file in filter(_is_named_mmproj, _list_ggufs(model.path.parent)):
        try:
            header = read_header(file)
        except InputError:  # `--mmproj FILE` reports it
            continue
        names = {each.get_text("general.basename").casefold() for each in (header, model)}
        if is_mmproj(header) and is_compatible(header, model) and len(names - {""}) < 2:
            found.append(header)
    return found


def read_mmproj(file: Path, model: Header) -> Header:
    """Read the header of an mmproj for a model.

    Raises:
        MissingError: It does not exist.
        InputError: It is no mmproj, is damaged, or is for another model.
    """
    try:
        is_missing = not file.exists()
    except OSError:  # reading it reports why: the name may be too long
        is_missing = False
    if is_missing:
        raise MissingError(f"no such file: {file}", "check the name after --mmproj")
    header = read_header(file)
    if not is_mmproj(header):
        raise InputError(f"{file} is not an mmproj", "pass a file with mmproj in its name")
    header.check_complete()
    if not is_compatible(header, model):
        width = model.get_number(f"{model.architecture}.embedding_length")
        raise InputError(
            f"{file} is for another model: it does not compute embeddings of {width} numbers",
            f"use the mmproj that belongs to {model.path.name}",
        )
    return header


def get_priority(file: str) -> tuple[int, str]:
    """Return a sort key of a file: f16 is preferred, then bf16, q8_0, f32."""
    name = file.lower()
    ranks = [
        rank for rank, kind in enumerate(_TYPES) if re.search(rf"(?<![a-z]){kind}(?![0-9])", name)
    ]
    return min(ranks, default=len(_TYPES)), name


def _list_ggufs(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() == ".gguf":
            yield file


def _is_named_mmproj(file: Path) -> bool:
    return "mmproj" in file.name.lower()


def _match(words: list[str], own: list[str]) -> tuple[int, int] | None:
    """Return how well the name of an mmproj matches that of a model.

    Args:
        words: The words of the mmproj.
        own: The words of the model.

    Returns:
        A sort key; None if neither name is a beginning of the other.
    """
    count = min(len(words), len(own))
    is_beginning = words[:count] == own[:count] and (count > 0 or not words)
    return (count, -len(words)) if is_beginning else None


def _split_words(file: Path) -> list[str]:
    """Return the words of a name before its quantization, without those that any file can have."""
    quantization = _QUANTIZATION.search(file.stem)
    name = file.stem[: quantization.start() if quantization else None].casefold()
    return [word for word in re.findall(r"[^\W_]+", name) if word not in ("mmproj", "model")]
