"""A projector as the two layers that LLaVA and llama.cpp expect."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmtui.errors import InputError
from mmtui.pipeline.vision.projector import Projector

_GELU_SCALE = 1024.0  # a power of 2 that keeps both layers in the range of fp16


@dataclass(frozen=True)
class TwoLayers:
    """Two linear layers with an activation between; `activation` is transformers' name of it."""

    first: nn.Linear
    second: nn.Linear
    activation: str


def to_llava(projector: Projector, activation: str, scale: float = 1.0) -> TwoLayers:
    """Return a projector as two layers, the first of which has as many outputs as the second.

    A linear projector fits exactly, because relu(x) - relu(-x) = x: the first layer is [I; -I; 0],
    the second [W, -W, 0]. Where that is too wide, the activation is the identity, which
    transformers knows as "linear" (and vLLM does not).

    Args:
        projector: The projector.
        activation: Its activation, if it has two layers.
        scale: A factor of its inputs that the first layer removes.

    Raises:
        InputError: Its inner layer has another width.
    """
    if isinstance(projector, nn.Sequential):
        first, second = projector[0], projector[2]
        assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
        if first.out_features != second.out_features:
            raise InputError(
                f"the projector has an inner layer of {first.out_features} units, LLaVA one of"
                f" {second.out_features}",
                "align with --projector linear, which can be exported exactly",
            )
        scaled = _make_layer(first.weight / scale, first.bias)
        return TwoLayers(scaled, _make_layer(second.weight, second.bias), activation)
    hidden, width = projector.weight.shape
    identity = torch.eye(width)
    if 2 * width > hidden:
        first = _make_layer(projector.weight / scale, None)
        return TwoLayers(first, _make_layer(torch.eye(hidden), projector.bias), "linear")
    first_weight, second_weight = torch.zeros(hidden, width), torch.zeros(hidden, hidden)
    first_weight[: 2 * width] = torch.cat([identity, -identity]) / scale
    second_weight[:, : 2 * width] = torch.cat([projector.weight, -projector.weight], dim=1)
    return TwoLayers(
        _make_layer(first_weight, None), _make_layer(second_weight, projector.bias), "relu"
    )


def to_llama_cpp(projector: Projector, activation: str) -> TwoLayers:
    """Return a projector as two layers of any widths with GELU between.

    A linear projector fits exactly, because GELU(x) - GELU(-x) = x. llama.cpp looks GELU up in a
    table of fp16, but not beyond 10: the first layer scales its outputs, the second scales back.

    Raises:
        InputError: It has another activation.
    """
    if isinstance(projector, nn.Sequential):
        first, second = projector[0], projector[2]
        assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
        if activation != "gelu":
            raise InputError(f"llama.cpp runs projectors with gelu, and not with {activation}")
        layers = (_make_layer(first.weight, first.bias), _make_layer(second.weight, second.bias))
        return TwoLayers(*layers, "gelu")
    identity = torch.eye(projector.out_features)
    first = _make_layer(_GELU_SCALE * torch.cat([projector.weight, -projector.weight]), None)
    second = _make_layer(torch.cat([identity, -identity], dim=1) / _GELU_SCALE, projector.bias)
    return TwoLayers(first, second, "gelu")


def _make_layer(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a linear layer; its bias is zero if there is none."""
    out_features, in_features = weight.shape
    layer = nn.Linear(in_features, out_features).requires_grad_(False)
    layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    layer.bias = nn.Parameter(
        torch.zeros(out_features) if bias is None else bias.detach().clone(), requires_grad=False
    )
    return layer
