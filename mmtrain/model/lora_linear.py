"""A faster forward and backward pass for the LoRA layers of PEFT.

PEFT builds such a layer from many small operations, each with its own pass over memory, its own
saved tensors and, on a GPU, its own launch. Here a layer is one autograd function, whose products
are those of PEFT. The parameters, their names and the saved adapter stay those of PEFT.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

# The integers with the bits of a floating-point number, for random masks on CPUs.
_INTEGERS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}


def speed_up_adapters(model: nn.Module) -> None:
    """Give the LoRA layers of a model the faster pass, and let norms return what these compute in.

    Layers of another form, such as those with DoRA, keep the pass of PEFT.
    """
    from peft.tuners.lora import LoraLayer

    for module in model.modules():
        if isinstance(module, LoraLayer) and _is_plain(module):
            module.forward = partial(_forward, module, module.forward)
        elif "norm" in type(module).__name__.lower():
            module.register_forward_hook(_cast_output)


def _is_plain(layer: Any) -> bool:
    """Return whether a layer is a linear one with one adapter of plain LoRA."""
    from bitsandbytes.nn import Linear4bit

    is_linear = type(layer.base_layer) in (nn.Linear, Linear4bit)
    has_one_adapter = list(layer.lora_A) == list(layer.active_adapters) and len(layer.lora_A) == 1
    if not is_linear or not has_one_adapter or layer.lora_variant:
        return False
    (name,) = layer.lora_A
    has_bias = layer.lora_A[name].bias is not None or layer.lora_B[name].bias is not None
    return not has_bias and not getattr(layer, "fan_in_fan_out", False)


def _cast_output(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Cast once what several linear layers read, and would each cast under autocast."""
    device = output.device.type
    if not torch.is_autocast_enabled(device):
        return output
    return output.to(torch.get_autocast_dtype(device))


def _forward(layer: Any, forward_of_peft: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Compute a LoRA layer as PEFT does.

    Without autocast, the two parts of a layer may compute in different formats: PEFT does that.
    """
    (name,) = layer.lora_A
    base, device = layer.base_layer, x.device.type
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    if torch.is_autocast_enabled(device):
        x = x.to(torch.get_autocast_dtype(device))
    elif not x.dtype == a.dtype == base.weight.dtype:
        return forward_of_peft(x)
    dropout = layer.lora_dropout[name]
    probability = dropout.p if isinstance(dropout, nn.Dropout) and dropout.training else 0.0
    apply: Callable[..., Tensor] = _LoraLinear.apply
    return apply(x, partial(_get_weight, base), base.bias, a, b, layer.scaling[name], probability)


def _get_weight(base: Any, dtype: torch.dtype) -> Tensor:
    """Return the weight (out, in) of a linear layer, dequantized."""
    state = getattr(base.weight, "quant_state", None)
    if state is None:
        weight: Tensor = base.weight
        return weight.to(dtype)
    from bitsandbytes.functional import dequantize_4bit

    dequantized: Tensor = dequantize_4bit(base.weight.data.view(-1, 1), state)
    return dequantized.to(dtype)


class _LoraLinear(torch.autograd.Function):
    """Computes x W' + bias + scaling dropout(x) A' B', where W and the bias are frozen."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        get_weight: Callable[[torch.dtype], Tensor],
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scaling: float,
        dropout: float,
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        mask = draw_mask(rows, dropout) if dropout else None
        low = drop(rows, mask, dropout) @ a.to(x.dtype).t()
        weight = get_weight(x.dtype)
        if bias is None:
            result = rows @ weight.t()
        else:
            result = torch.addmm(bias.to(x.dtype), rows, weight.t())
        result.addmm_(low, b.to(x.dtype).t(), alpha=scaling)
        ctx.save_for_backward(rows, mask, low, a, b)
        ctx.get_weight, ctx.scaling, ctx.dropout = get_weight, scaling, dropout
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, mask, low, a, b = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, gradients[0].shape[-1])
        low_gradient = (gradient @ b.to(gradient.dtype)).mul_(ctx.scaling)
        a_gradient = low_gradient.t() @ drop(rows, mask, ctx.dropout)
        b_gradient = gradient.t() @ low.mul(ctx.scaling)
        x_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = drop(low_gradient @ a.to(gradient.dtype), mask, ctx.dropout)
            x_gradient = x_gradient.addmm(gradient, ctx.get_weight(gradient.dtype))
            x_gradient = x_gradient.view(*gradients[0].shape[:-1], -1)
        return x_gradient, None, None, a_gradient.to(a.dtype), b_gradient.to(b.dtype), None, None


def draw_mask(x: Tensor, probability: float) -> Tensor:
    """Draw what dropout keeps: booleans, or on a CPU integers whose bits are all set or none.

    A CPU draws four bf16 decisions from one random number of 64 bits, and needs no comparison.
    """
    integers = _INTEGERS.get(x.dtype)
    if x.device.type != "cpu" or integers is None:
        return torch.empty_like(x, dtype=torch.bool).bernoulli_(1 - probability)
    bits = 8 * x.element_size()
    highest = 2 ** (bits - 1) - 1
    count = -(-x.numel() * bits // 64)
    random = torch.empty(count, dtype=torch.int64).random_(-(2**63), None)
    mask = random.view(integers)[: x.numel()].view(x.shape).bitwise_and_(highest)
    # The sign of (dropped - 1 - number) is negative for the numbers that keep.
    return mask.neg_().add_(round(probability * (highest + 1)) - 1).bitwise_right_shift_(bits - 1)


def drop(x: Tensor, mask: Tensor | None, probability: float) -> Tensor:
    """Set what the mask drops to zero, and scale the rest, so that the mean stays."""
    if mask is None:
        return x
    scale = 1 / (1 - probability)
    if mask.dtype == torch.bool:
        dropped: Tensor = torch.ops.aten.native_dropout_backward(x, mask, scale)
        return dropped
    return (x.view(mask.dtype) & mask).view(x.dtype).mul_(scale)
