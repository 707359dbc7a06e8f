"""From a run to a model that stands by itself: half the bytes, a user's preset, or a GGUF."""

import dataclasses
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file
from torch import Tensor

from mmtrain.run import folder
from mmtui.errors import InputError, UsageError
from mmtui.paths import resolve
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets.checkpoint import LANGUAGE
from mmtui.pipeline.assets.fetch import Report, silent
from mmtui.pipeline.assistant import prepare
from mmtui.pipeline.gguf.conversion import copy_tokenizer
from mmtui.pipeline.gguf.writer import Quantization, from_folder

_ADAPTER_FILE = "adapter_model.safetensors"
_ITS_START = "name a run and what it began from"


def export(run: Path, destination: str) -> Path:
    """Write the model of `run` in bf16 to a folder, or as the user's preset of that name.

    A pretrained language model comes along as it is. Raises InputError if `run` is no
    checkpoint, UsageError for a folder that holds something else.
    """
    found = checkpoint.read(run)
    is_preset = destination in checkpoint.PRESETS
    place = checkpoint.user_models() / destination if is_preset else resolve(destination)
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
            fetch.save_tensors(_half(found.adapter / _ADAPTER_FILE), adapter / _ADAPTER_FILE)
        checkpoint.write(
            place,
            found.spec,
            projector=_half(found.projector) if found.projector else None,
            adapter=adapter,
            language=own,
        )
    return place


def export_between(one: str, other: str, place: Path, share: float) -> Path:
    """Write the model whose trained weights lie between those of two, in bf16.

    `share` is that of the other, which learnt on from the one: on part of the way there it often
    does better, in all that either can, than both (Wortsman et al., arXiv:2109.01903). Raises
    InputError for models that were not trained from each other.
    """
    near, far = checkpoint.find(one), checkpoint.find(other)
    same = near.spec.language.weights == far.spec.language.weights
    if not (same and near.projector and far.projector):
        raise InputError(f"{one} and {other} are different models", _ITS_START)
    _must_be_ours(place)
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place, prefix=".new-") as name:
        adapter = None
        if near.adapter and far.adapter:
            adapter = Path(name) / checkpoint.ADAPTER
            shutil.copytree(near.adapter, adapter)
            files = (near.adapter / _ADAPTER_FILE, far.adapter / _ADAPTER_FILE)
            fetch.save_tensors(_between(*files, share), adapter / _ADAPTER_FILE)
        projector = _between(near.projector, far.projector, share)
        checkpoint.write(place, near.spec, projector=projector, adapter=adapter)
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
    if (place / folder.RECORD).exists():
        raise UsageError(f"{place} holds a run", "name another folder")
    if place.exists() and not place.is_dir():
        raise UsageError(f"{place} is not a folder", "name another folder")
    if place.exists() and not (place / checkpoint.SPEC).exists() and any(place.iterdir()):
        raise UsageError(f"{place} holds other files", "name another folder")


def _between(near: Path, far: Path, share: float) -> dict[str, Tensor]:
    here, there = load_file(near), load_file(far)
    if {n: t.shape for n, t in here.items()} != {n: t.shape for n, t in there.items()}:
        raise InputError(f"{near} and {far} hold other weights", _ITS_START)
    return {
        name: torch.lerp(tensor.float(), there[name].float(), share).to(torch.bfloat16)
        for name, tensor in here.items()
    }


def _half(file: Path) -> dict[str, Tensor]:
    return {name: tensor.to(torch.bfloat16) for name, tensor in load_file(file).items()}
