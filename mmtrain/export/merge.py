"""Merge models that were trained from the same one: a weighted sum of what was trained."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from mmtrain.export import destination
from mmtrain.export.checkpoint import copy_language
from mmtui.errors import InputError, UsageError
from mmtui.files import read_optional_json
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets.file_names import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_FOLDER,
    ADAPTER_WEIGHTS_FILE,
    SPEC_FILE,
)
from mmtui.pipeline.assets.spec import ModelSpec
from mmtui.pipeline.gguf import lora

_TOLERANCE = 1e-3  # of the sum of the weights, so that three thirds may be written 0.333
_SAME_START_HINT = "merge models that were trained from the same model"


@dataclass(frozen=True)
class _Source:
    """A model and its weight in the sum.

    Attributes:
        name: The model, as `--model` takes it.
        weight: Its weight in the sum.
        spec: Its specification.
        folder: Where its trained weights are.
        projector: The tensors of its projector.
        lora_a: The factors (rank, in) of its adapter, by their names; empty without one.
        lora_b: The scaled factors (out, rank), by the names of those that they belong to.
    """

    name: str
    weight: float
    spec: ModelSpec
    folder: Path
    projector: dict[str, Tensor]
    lora_a: dict[str, Tensor]
    lora_b: dict[str, Tensor]


def export_merged(models: Sequence[tuple[str, float]], place: Path) -> Path:
    """Write the weighted sum of the trained weights of several models, in bf16.

    With positive weights this is an average, as in WiSE-FT (Wortsman et al., arXiv:2109.01903) and
    model soups (arXiv:2203.05482). With a negative one for the model that others started from, it
    adds what each has learned, as in task arithmetic (Ilharco et al., arXiv:2212.04089).

    The changes B A of LoRA adapters are summed, and a singular value decomposition cuts the sum to
    the highest rank among the adapters. A model without an adapter counts as one whose adapter
    changes nothing.

    Args:
        models: Names of models, as `--model` takes them, and their weights in the sum, which
            sum to 1. The settings of the first model are kept.
        place: The folder to write.

    Returns:
        The folder.

    Raises:
        InputError: The models do not belong together, or an adapter is not a plain LoRA.
        UsageError: The weights do not sum to 1, or the folder is one of the models, or holds a run
            or other files.
    """
    total = sum(weight for _, weight in models)
    if abs(total - 1) > _TOLERANCE:
        raise UsageError(f"the weights sum to {total:.6g}", "choose weights that sum to 1")
    sources = [_open(name, weight) for name, weight in models]
    for source in sources:
        _check_same_start(sources[0], source)
        if source.folder.resolve() == place.resolve():
            raise UsageError(f"{place} is one of the models", "choose another folder")
    destination.check(place, marker=SPEC_FILE)
    projector = {
        name: torch.stack([source.projector[name] * source.weight for source in sources])
        .sum(0)
        .to(torch.bfloat16)
        for name in sources[0].projector
    }
    adapted = [source for source in sources if source.lora_a]
    adapter = _sum_adapters(adapted) if adapted else None
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place, prefix=".new-") as name:
        spec = sources[0].spec
        folder = None
        if adapter:
            folder = Path(name) / ADAPTER_FOLDER
            _write_adapter(folder, adapter, like=adapted[0].folder / ADAPTER_FOLDER)
        checkpoint.write(place, spec, projector, folder, copy_language(spec, Path(name)))
    return place


def _open(name: str, weight: float) -> _Source:
    """Load the trained weights of a model.

    Raises:
        InputError: It has no trained projector, its adapter is not a plain LoRA, or it is damaged.
    """
    found = checkpoint.find(name)
    if not found.projector:
        raise InputError(
            f"{name} has no trained projector", "merge runs, or checkpoint folders with a projector"
        )
    projector = {key: tensor.float() for key, tensor in load_file(found.projector).items()}
    lora_a: dict[str, Tensor] = {}
    lora_b: dict[str, Tensor] = {}
    if found.adapter:
        scale = lora.read_scale(found.adapter)
        if scale is None:
            raise InputError(
                f"the adapter of {name} is not a plain LoRA", "only plain LoRA can be merged"
            )
        tensors = load_file(found.adapter / ADAPTER_WEIGHTS_FILE)
        lora_a = {key: tensors[key].float() for key in sorted(tensors) if ".lora_A." in key}
        lora_b = {key: tensors[_name_lora_b(key)].float() * scale for key in lora_a}
    loaded = [*projector.values(), *lora_a.values(), *lora_b.values()]
    if not all(tensor.isfinite().all() for tensor in loaded) or not all(
        a.ndim == lora_b[key].ndim == 2 and a.shape[0] == lora_b[key].shape[1]
        for key, a in lora_a.items()
    ):
        raise InputError(f"the weights of {name} are damaged", "train or fetch the model anew")
    return _Source(name, weight, found.spec, found.projector.parent, projector, lora_a, lora_b)


def _check_same_start(first: _Source, other: _Source) -> None:
    """Check that two models differ in nothing but the values of their trained weights.

    Raises:
        InputError: They have other parts, or weights of other shapes.
    """
    parts, other_parts = (
        (source.spec.language.weights, source.spec.vision) for source in (first, other)
    )
    shapes, other_shapes = (
        {name: tensor.shape for name, tensor in source.projector.items()}
        for source in (first, other)
    )
    if parts != other_parts or shapes != other_shapes:
        raise InputError(f"{first.name} and {other.name} are different models", _SAME_START_HINT)


def _sum_adapters(sources: Sequence[_Source]) -> dict[str, Tensor]:
    """Return the tensors of the weighted sum of adapters, in bf16 and for a scale of 1.

    Raises:
        InputError: The adapters change different layers.
    """
    first = sources[0]
    for source in sources:
        if _get_sides(source) != _get_sides(first):
            raise InputError(
                f"the adapters of {first.name} and {source.name} change different layers",
                _SAME_START_HINT,
            )
    rank = max(a.shape[0] for source in sources for a in source.lora_a.values())
    summed: dict[str, Tensor] = {}
    for name in first.lora_a:
        lora_a = torch.cat([source.lora_a[name] for source in sources])
        lora_b = torch.cat([source.lora_b[name] * source.weight for source in sources], dim=1)
        summed[name], summed[_name_lora_b(name)] = _cut_rank(lora_a, lora_b, rank)
    return summed


def _get_sides(source: _Source) -> dict[str, tuple[int, int]]:
    """Return the sides (in, out) of the weights that an adapter changes."""
    return {name: (a.shape[1], source.lora_b[name].shape[0]) for name, a in source.lora_a.items()}


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
    left, values, right = torch.linalg.svd(r_b @ r_a.T, full_matrices=False)
    roots = values[:rank].sqrt()
    cut_a = roots[:, None] * (right[:rank] @ q_a.T)
    cut_b = (q_b @ left[:, :rank]) * roots
    # A weight with a side below the rank needs fewer factors; the others are zero.
    missing = rank - len(roots)
    cut_a, cut_b = functional.pad(cut_a, (0, 0, 0, missing)), functional.pad(cut_b, (0, missing))
    return cut_a.to(torch.bfloat16), cut_b.to(torch.bfloat16)


def _write_adapter(folder: Path, tensors: dict[str, Tensor], like: Path) -> None:
    """Write an adapter with a scale of 1 and otherwise the settings of another."""
    rank = max(tensor.shape[0] for name, tensor in tensors.items() if ".lora_A." in name)
    settings = read_optional_json(like / ADAPTER_CONFIG_FILE) | {"r": rank, "lora_alpha": rank}
    folder.mkdir()
    (folder / ADAPTER_CONFIG_FILE).write_text(json.dumps(settings, indent=2), "utf-8")
    fetch.save_tensors(tensors, folder / ADAPTER_WEIGHTS_FILE)


def _name_lora_b(name: str) -> str:
    return name.replace(".lora_A.", ".lora_B.")
