"""Merge models that were trained from the same one: a weighted sum of what was trained."""

import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from mmtrain.export import destination
from mmtui.errors import InputError, UsageError
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assets.file_names import ADAPTER_FOLDER, ADAPTER_WEIGHTS_FILE, SPEC_FILE
from mmtui.pipeline.gguf import lora

_SAME_START_HINT = "merge models that were trained from the same model"


@dataclass(frozen=True)
class _Adapter:
    """A plain LoRA adapter and its share of the sum."""

    folder: Path
    weight: float
    scale: float
    tensors: dict[str, Tensor]

    @property
    def rank(self) -> int:
        return next(tensor.shape[0] for name, tensor in self.tensors.items() if ".lora_A." in name)


def export_merged(models: Sequence[tuple[str, float]], place: Path) -> Path:
    """Write the weighted sum of the trained weights of several models, in bf16.

    With positive weights this is an average, as in WiSE-FT (Wortsman et al., arXiv:2109.01903) and
    model soups (arXiv:2203.05482). With a negative one for the model that others started from, it
    adds what each has learned, as in task arithmetic (Ilharco et al., arXiv:2212.04089).

    The changes B A of LoRA adapters are summed, and a singular value decomposition cuts the sum to
    the highest rank among the adapters. A model without an adapter counts as one whose adapter
    changes nothing.

    Args:
        models: Names of models, as `--model` takes them, and their weights, whose sum is 1.
        place: The folder to write.

    Returns:
        The folder.

    Raises:
        InputError: The models do not belong together, or an adapter is not a plain LoRA.
        UsageError: The weights do not sum to 1, or the folder holds a run or other files.
    """
    total = sum(weight for _, weight in models)
    if not math.isclose(total, 1, abs_tol=1e-6):
        raise UsageError(
            f"the weights of the models sum to {total:g}", "choose weights that sum to 1"
        )
    found = [(checkpoint.find(name), weight) for name, weight in models]
    projector = _sum_projectors(models, found)
    adapters = [
        _load_adapter(model.adapter, weight) for model, weight in found if model.adapter is not None
    ]
    destination.check(place, marker=SPEC_FILE)
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place, prefix=".new-") as name:
        folder = None
        if adapters:
            largest = max(adapters, key=lambda adapter: adapter.rank)
            folder = Path(name) / ADAPTER_FOLDER
            shutil.copytree(largest.folder, folder)
            fetch.save_tensors(_sum_adapters(adapters, largest), folder / ADAPTER_WEIGHTS_FILE)
        checkpoint.write(place, found[0][0].spec, projector=projector, adapter=folder)
    return place


def _sum_projectors(
    models: Sequence[tuple[str, float]], found: Sequence[tuple[Checkpoint, float]]
) -> dict[str, Tensor]:
    """Return the weighted sum of the projectors in bf16.

    Raises:
        InputError: The models differ in their parts, or have no projector.
    """
    first, first_name = found[0][0], models[0][0]
    loaded: list[tuple[dict[str, Tensor], float]] = []
    for (name, _), (model, weight) in zip(models, found, strict=True):
        if model.spec.language.weights != first.spec.language.weights or not model.projector:
            raise InputError(f"{first_name} and {name} are different models", _SAME_START_HINT)
        loaded.append((load_file(model.projector), weight))
        if _get_shapes(loaded[-1][0]) != _get_shapes(loaded[0][0]):
            raise InputError(
                f"the projectors of {first_name} and {name} differ in shape", _SAME_START_HINT
            )
    return {
        name: _sum((tensors[name], weight) for tensors, weight in loaded) for name in loaded[0][0]
    }


def _load_adapter(folder: Path, weight: float) -> _Adapter:
    """Load a LoRA adapter.

    Raises:
        InputError: It is damaged, or not a plain LoRA.
    """
    scale = lora.read_scale(folder)
    if scale is None:
        raise InputError(
            f"the adapter in {folder} is not a plain LoRA", "only plain LoRA adapters can be merged"
        )
    return _Adapter(folder, weight, scale, load_file(folder / ADAPTER_WEIGHTS_FILE))


def _sum_adapters(adapters: Sequence[_Adapter], largest: _Adapter) -> dict[str, Tensor]:
    """Return the tensors of an adapter with the rank and scale of `largest`, in bf16.

    Raises:
        InputError: The adapters differ in shape.
    """
    summed: dict[str, Tensor] = {}
    for name_a in sorted({name for adapter in adapters for name in adapter.tensors}):
        if ".lora_A." not in name_a:
            continue
        name_b = name_a.replace(".lora_A.", ".lora_B.")
        having = [adapter for adapter in adapters if name_a in adapter.tensors]
        if len({(a.tensors[name_a].shape[1], a.tensors[name_b].shape[0]) for a in having}) > 1:
            raise InputError("the adapters differ in shape", _SAME_START_HINT)
        lora_a = torch.cat([adapter.tensors[name_a].float() for adapter in having])
        lora_b = torch.cat(
            [
                adapter.tensors[name_b].float() * (adapter.weight * adapter.scale / largest.scale)
                for adapter in having
            ],
            dim=1,
        )
        summed[name_a], summed[name_b] = _cut_rank(lora_a, lora_b, largest.rank)
    return summed


def _cut_rank(lora_a: Tensor, lora_b: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the factors in bf16 of the best approximation of `lora_b @ lora_a` of a rank.

    Args:
        lora_a: (any rank, in).
        lora_b: (out, any rank).
        rank: The rank of the result.

    Returns:
        Factors (rank, in) and (out, rank), which share the singular values equally.
    """
    # The product is (out, in), but its singular values are those of a matrix as small as the rank.
    q_a, r_a = torch.linalg.qr(lora_a.T)
    q_b, r_b = torch.linalg.qr(lora_b)
    left, values, right = torch.linalg.svd(r_b @ r_a.T)
    roots = values[:rank].sqrt()
    cut_a = roots[:, None] * (right[:rank] @ q_a.T)
    cut_b = (q_b @ left[:, :rank]) * roots
    # A weight that is smaller than the rank leaves factors without use.
    missing = rank - len(roots)
    cut_a, cut_b = functional.pad(cut_a, (0, 0, 0, missing)), functional.pad(cut_b, (0, missing))
    return cut_a.to(torch.bfloat16), cut_b.to(torch.bfloat16)


def _sum(weighted: Iterable[tuple[Tensor, float]]) -> Tensor:
    total = sum(tensor.float() * weight for tensor, weight in weighted)
    assert isinstance(total, Tensor)
    return total.to(torch.bfloat16)


def _get_shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
