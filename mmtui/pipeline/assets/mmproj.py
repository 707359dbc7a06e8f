"""The mmproj of a GGUF model: a second GGUF, with a vision or audio tower and its projector."""

import re
from pathlib import Path

from mmtui.errors import InputError, MissingError
from mmtui.pipeline.assets.gguf_header import Header, read_header

_TYPES = ("fp?16", "bf16", "q8_0", "fp?32")  # in the order of preference
_QUANTIZATION_WORD = re.compile(r"i?q\d|b?f16|fp16|f32|fp32|\d|k|s|m|l|xl")


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

    The files of several models can be in one folder: an mmproj that computes embeddings of another
    size, or is named after another model, is left out.
    """
    found: list[Header] = []
    for file in sorted(model.path.parent.iterdir()):
        if "mmproj" not in file.name.lower() or file.suffix.lower() != ".gguf":
            continue
        try:
            header = read_header(file)
        except InputError:  # `--mmproj FILE` reports it
            continue
        if is_mmproj(header) and is_compatible(header, model) and not _is_of_another(header, model):
            found.append(header)
    return min(found, key=lambda header: get_priority(header.path.name), default=None)


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


def _is_of_another(mmproj: Header, model: Header) -> bool:
    """Return whether an mmproj is of another model by its metadata or its name.

    Its name may be that of the model, or a beginning of it, beside words that any mmproj can have:
    "mmproj-model-f16.gguf", "gemma-3-4b-it-mmproj-Q8_0.gguf".
    """
    names = {header.get_text("general.basename").casefold() for header in (mmproj, model)}
    if len(names - {""}) > 1:
        return True
    words = [word for word in _split_words(mmproj.path) if word not in ("mmproj", "model")]
    while words and _QUANTIZATION_WORD.fullmatch(words[-1]):
        words.pop()
    own = [word for word in _split_words(model.path) if word != "model"]
    return own[: len(words)] != words


def _split_words(file: Path) -> list[str]:
    return re.findall(r"[^\W_]+", file.stem.casefold())
