"""From a run to a model that stands by itself: half the bytes, a user's preset, or a GGUF."""

import dataclasses
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file
from torch import Tensor

from mmtrain import runs
from mmtui.errors import UsageError
from mmtui.pipeline import assets, checkpoint
from mmtui.pipeline.assets import Report, silent
from mmtui.pipeline.assistant import prepare
from mmtui.pipeline.checkpoint import LANGUAGE
from mmtui.pipeline.conversion import copy_tokenizer
from mmtui.pipeline.gguf_writing import Quantization, from_folder

_ADAPTER_FILE = "adapter_model.safetensors"


def export(run: Path, destination: str) -> Path:
    """Write the model of `run` in bf16 to a folder, or as the user's preset of that name.

    A pretrained language model comes along as it is. Raises InputError if `run` is no
    checkpoint, UsageError for a folder that holds something else.
    """
    found = checkpoint.read(run)
    is_preset = destination in checkpoint.PRESETS
    place = checkpoint.user_models() / destination if is_preset else Path(destination)
    _must_be_ours(place)
    language = Path(found.spec.language.weights.uri)
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place, prefix=".new-") as name:
        own = Path(name) / LANGUAGE if language.name == LANGUAGE and language.is_dir() else None
        if own is not None:
            shutil.copytree(language, own)
        adapter = Path(name) / checkpoint.ADAPTER if found.adapter else None
        if found.adapter and adapter:
            shutil.copytree(found.adapter, adapter)
            assets.save_tensors(_half(found.adapter / _ADAPTER_FILE), adapter / _ADAPTER_FILE)
        checkpoint.write(
            place,
            found.spec,
            projector=_half(found.projector) if found.projector else None,
            adapter=adapter,
            language=own,
        )
    return place


def export_gguf(
    model: str, place: Path, quantization: Quantization, report: Report = silent
) -> Path:
    """Write the model that `--model` would name with its language model as one GGUF.

    The adapter is merged into it; the projector lies beside it. Raises InputError for a
    language model that llama.cpp can't have, UsageError for a folder that holds something else.
    """
    found = checkpoint.find(model)
    _must_be_ours(place)
    weights = prepare(found.spec.language.weights, report)
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place, prefix=".new-") as name:
        language = Path(name) / LANGUAGE
        language.mkdir()
        from_folder(weights, language / "model.gguf", quantization, found.adapter, report)
        copy_tokenizer(weights, language)
        plain = dataclasses.replace(found.spec.language, precision="auto")
        checkpoint.write(
            place,
            dataclasses.replace(found.spec, language=plain),
            projector=load_file(found.projector) if found.projector else None,
            language=language,
        )
    return place


def _must_be_ours(place: Path) -> None:
    if (place / runs.FILE).exists():
        raise UsageError(f"{place} holds a run", "name another folder")
    if place.exists() and not (place / checkpoint.SPEC).exists() and any(place.iterdir()):
        raise UsageError(f"{place} holds other files", "name another folder")


def _half(file: Path) -> dict[str, Tensor]:
    return {name: tensor.to(torch.bfloat16) for name, tensor in load_file(file).items()}
