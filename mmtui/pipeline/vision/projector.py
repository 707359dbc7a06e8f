"""The projector, a trained map from patch features to embeddings of the language model."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from mmtui.compat.transformers_hooks import import_transformers
from mmtui.errors import InputError
from mmtui.pipeline.assets.spec import Part
from mmtui.pipeline.assets.weight_files import WeightFiles

Kind = Literal["linear", "mlp"]
Projector = nn.Linear | nn.Sequential


def build(kind: Kind, width: int, hidden: int) -> Projector:
    """Build a projector: a linear layer, as in LLaVA (arXiv:2304.08485), or two layers with GELU.

    The inner layer of the MLP has twice the size of an embedding, so that the MLP can be
    initialized to equal any linear layer: GELU(x) - GELU(-x) = x.

    Args:
        kind: The architecture.
        width: Size of the patch features (batch, patches, width).
        hidden: Size of the embeddings (batch, patches, hidden).
    """
    if kind == "linear":
        return nn.Linear(width, hidden)
    return nn.Sequential(nn.Linear(width, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden))


def load(
    path: Path, width: int, hidden: int, *, activation: str = "gelu", part: Part | None = None
) -> Projector:
    """Load a projector in fp32 and eval mode; its layers and biases are those of the tensors.

    Args:
        path: A safetensors file, or a folder in Hugging Face's layout that contains a projector.
        width: Size of a patch feature.
        hidden: Embedding size of the language model.
        activation: The activation between two layers, by its name in transformers.
        part: Where the projector is in the folder.

    Raises:
        InputError: The file is damaged, its shapes do not match `width` and `hidden`, or the
            activation is unknown.
    """
    files = WeightFiles(path, part)
    state = {name: files.read(name).float() for name in files.names}
    with torch.device("meta"):
        projector = _build_for(state, width, hidden, activation)
    expected = {name: tuple(tensor.shape) for name, tensor in projector.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if found != expected:
        raise InputError(
            f"{path} holds {found}; this vision tower and this language model need {expected}",
            "the checkpoint belongs to another model",
        )
    projector.load_state_dict(state, assign=True)
    return projector.eval().requires_grad_(False)


def _build_for(state: dict[str, Tensor], width: int, hidden: int, activation: str) -> Projector:
    """Build the projector whose tensors are `state`, as far as they tell."""
    if "weight" in state:
        return nn.Linear(width, hidden, bias="bias" in state)
    inner = len(state["0.weight"]) if "0.weight" in state else 2 * hidden
    return nn.Sequential(
        nn.Linear(width, inner, bias="0.bias" in state),
        _get_activation(activation),
        nn.Linear(inner, hidden, bias="2.bias" in state),
    )


def _get_activation(name: str) -> nn.Module:
    if name == "gelu":  # without importing transformers, which takes seconds
        return nn.GELU()
    import_transformers()
    from transformers.activations import ACT2FN

    try:
        activation: nn.Module = ACT2FN[name]
    except KeyError as error:
        raise InputError(f"the projector's activation {name!r} is unknown") from error
    return activation
