"""The trained map from patch features (batch, patches, width) to (batch, patches, hidden)."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from mmtui.errors import InputError


class Projector(nn.Linear):
    """One linear layer, as in the original LLaVA (arXiv:2304.08485)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(width, hidden)


def load(path: Path, width: int, hidden: int) -> Projector:
    """An fp32 projector in eval mode.

    Raises InputError if the file is damaged or does not fit between tower and model.
    """
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    expected = {"weight": (hidden, width), "bias": (hidden,)}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if found != expected:
        raise InputError(
            f"{path} holds {found}; between this tower and this language model it takes {expected}",
            "the checkpoint belongs to another model",
        )
    with torch.device("meta"):
        projector = Projector(width, hidden)
    projector.load_state_dict({name: state[name].float() for name in expected}, assign=True)
    return projector.eval().requires_grad_(False)
