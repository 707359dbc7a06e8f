"""Export the model of a run as a checkpoint in bf16 or as a preset, or a mean of two models."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file
from torch import Tensor

from mmtrain.export import destination
from mmtui.errors import InputError
from mmtui.paths import resolve
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets.file_names import (
    ADAPTER_FOLDER,
    ADAPTER_WEIGHTS_FILE,
    LANGUAGE_FOLDER,
    SPEC_FILE,
)
from mmtui.pipeline.gguf import lora

_BETWEEN_HINT = "pass a model and a run that started from it"


def export(run: Path, target: str) -> Path:
    """Write the model of `run` in bf16 to a folder, or as the user's preset of that name.

    A pretrained language model is copied unchanged.

    Returns:
        The folder that was written.

    Raises:
        InputError: `run` is not a checkpoint.
        UsageError: The destination holds a run or other files.
    """
    found = checkpoint.read(run)
    is_preset = target in checkpoint.PRESETS
    place = checkpoint.get_user_models_folder() / target if is_preset else resolve(target)
    destination.check(place, marker=SPEC_FILE)
    language = Path(found.spec.language.weights.uri)
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place, prefix=".new-") as name:
        copied = None
        if language.name == LANGUAGE_FOLDER and language.is_dir():
            copied = Path(name) / LANGUAGE_FOLDER
            shutil.copytree(language, copied)
        adapter = Path(name) / ADAPTER_FOLDER if found.adapter else None
        if found.adapter and adapter:
            shutil.copytree(found.adapter, adapter)
            fetch.save_tensors(
                _load_bf16(found.adapter / ADAPTER_WEIGHTS_FILE), adapter / ADAPTER_WEIGHTS_FILE
            )
        checkpoint.write(
            place,
            found.spec,
            projector=_load_bf16(found.projector) if found.projector else None,
            adapter=adapter,
            language=copied,
        )
    return place


def export_between(base: str, trained: str, place: Path, share: float) -> Path:
    """Interpolate between the trained weights of two models, and write the result in bf16.

    This is WiSE-FT (Wortsman et al., arXiv:2109.01903): a point between a model and its finetuned
    version often does better than either on the tasks of both.

    If only one of the models has a LoRA adapter, the other one counts as a model with an adapter of
    zeros, which is what LoRA training starts from.

    Args:
        base: The model that `trained` started from, as `--model` names it.
        trained: The run.
        place: The folder to write.
        share: The position between the two; 0 is `base`, 1 is `trained`.

    Raises:
        InputError: The models do not belong together, or the only adapter is no plain LoRA.
        UsageError: The folder holds a run or other files.
    """
    near, far = checkpoint.find(base), checkpoint.find(trained)
    same = near.spec.language.weights == far.spec.language.weights
    if not (same and near.projector and far.projector):
        raise InputError(f"{base} and {trained} are different models", _BETWEEN_HINT)
    destination.check(place, marker=SPEC_FILE)
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place, prefix=".new-") as name:
        projector = _interpolate(near.projector, far.projector, share)
        adapter = None
        if source := near.adapter or far.adapter:
            adapter = Path(name) / ADAPTER_FOLDER
            shutil.copytree(source, adapter)
            tensors = _interpolate_adapters(near.adapter, far.adapter, share)
            fetch.save_tensors(tensors, adapter / ADAPTER_WEIGHTS_FILE)
        checkpoint.write(place, near.spec, projector=projector, adapter=adapter)
    return place


def _interpolate_adapters(near: Path | None, far: Path | None, share: float) -> dict[str, Tensor]:
    """Interpolate between two adapters, at least one of which must be given.

    Raises:
        InputError: The adapters differ in shape, or the only one is no plain LoRA.
    """
    if near and far:
        return _interpolate(near / ADAPTER_WEIGHTS_FILE, far / ADAPTER_WEIGHTS_FILE, share)
    if near:
        return _scale_lora(near, 1 - share)
    assert far is not None
    return _scale_lora(far, share)


def _scale_lora(adapter: Path, factor: float) -> dict[str, Tensor]:
    """Scale the weight changes B A of a LoRA adapter, which is done by scaling B."""
    if lora.read_scale(adapter) is None:
        raise InputError(
            f"the adapter in {adapter} is no plain LoRA, and the other model has no adapter",
            "pass two models that have adapters",
        )
    return {
        name: (tensor * factor if ".lora_B." in name else tensor).to(torch.bfloat16)
        for name, tensor in load_file(adapter / ADAPTER_WEIGHTS_FILE).items()
    }


def _interpolate(near: Path, far: Path, share: float) -> dict[str, Tensor]:
    here, there = load_file(near), load_file(far)
    if {n: t.shape for n, t in here.items()} != {n: t.shape for n, t in there.items()}:
        raise InputError(f"{near} and {far} have weights of different shapes", _BETWEEN_HINT)
    return {
        name: torch.lerp(tensor.float(), there[name].float(), share).to(torch.bfloat16)
        for name, tensor in here.items()
    }


def _load_bf16(file: Path) -> dict[str, Tensor]:
    return {name: tensor.to(torch.bfloat16) for name, tensor in load_file(file).items()}
