"""Export the model of a run as a checkpoint in bf16 or as a preset."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file
from torch import Tensor

from mmtrain.export import destination
from mmtui.paths import resolve
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets.file_names import (
    ADAPTER_FOLDER,
    ADAPTER_WEIGHTS_FILE,
    LANGUAGE_FOLDER,
    SPEC_FILE,
)
from mmtui.pipeline.assets.spec import ModelSpec


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
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place, prefix=".new-") as name:
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
            language=copy_language(found.spec, Path(name)),
        )
    return place


def copy_language(spec: ModelSpec, folder: Path) -> Path | None:
    """Copy the language model that a checkpoint contains into a folder.

    Returns:
        The copy; None if the language model is an asset elsewhere.
    """
    language = Path(spec.language.weights.uri)
    if language.name != LANGUAGE_FOLDER or not language.is_dir():
        return None
    return Path(shutil.copytree(language, folder / LANGUAGE_FOLDER))


def _load_bf16(file: Path) -> dict[str, Tensor]:
    return {name: tensor.to(torch.bfloat16) for name, tensor in load_file(file).items()}
