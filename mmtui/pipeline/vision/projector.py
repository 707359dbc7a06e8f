"""The projector, a trained map from patch features to embeddings of the language model."""

from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from mmtui.errors import InputError

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


def load(path: Path, width: int, hidden: int) -> Projector:
    """Load a projector in fp32 and eval mode; its kind is detected from the tensors.

    Raises:
        InputError: The file is damaged, or its shapes do not match `width` and `hidden`.
    """
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    with torch.device("meta"):
        projector = build("linear" if "weight" in state else "mlp", width, hidden)
    expected = {name: tuple(tensor.shape) for name, tensor in projector.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if found != expected:
        raise InputError(
            f"{path} holds {found}; this vision tower and this language model need {expected}",
            "the checkpoint belongs to another model",
        )
    projector.load_state_dict({name: state[name].float() for name in expected}, assign=True)
    return projector.eval().requires_grad_(False)
