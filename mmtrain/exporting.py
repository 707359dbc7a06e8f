"""From a run to a model that stands by itself: no state, half the bytes, or a user's preset."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file
from torch import Tensor

from mmtui.errors import UsageError
from mmtui.pipeline import assets, checkpoint
from mmtui.pipeline.checkpoint import LANGUAGE

_ADAPTER_FILE = "adapter_model.safetensors"


def export(run: Path, destination: str) -> Path:
    """Write the model of `run` in bf16 to a folder, or as the user's preset of that name.

    A pretrained language model comes along as it is. Raises InputError if `run` is no
    checkpoint, UsageError for a folder that holds something else.
    """
    found = checkpoint.read(run)
    is_preset = destination in checkpoint.PRESETS
    place = checkpoint.user_models() / destination if is_preset else Path(destination)
    if place.exists() and not (place / checkpoint.SPEC).exists() and any(place.iterdir()):
        raise UsageError(f"{place} holds other files", "name another folder")
    language = Path(found.spec.language.weights.uri)
    with TemporaryDirectory() as name:
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


def _half(file: Path) -> dict[str, Tensor]:
    return {name: tensor.to(torch.bfloat16) for name, tensor in load_file(file).items()}
