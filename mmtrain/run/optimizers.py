"""Optimizers and the learning-rate schedule."""

import math
from typing import Any

import torch
from torch import nn

from mmtrain.options import OptimizerName
from mmtui.errors import UsageError

FINAL_SHARE = 0.1  # the cosine ends at this share of the peak learning rate
BETAS = (0.9, 0.95)


def build_optimizer(
    name: OptimizerName,
    module: nn.Module,
    rates: dict[str, float],
    decay: float,
    *,
    is_fused: bool = False,
) -> torch.optim.Optimizer:
    """Build an optimizer of the trained parameters.

    Args:
        name: The optimizer, as `choose_optimizer` returned it. The 8-bit variants are those of
            bitsandbytes (Dettmers et al., arXiv:2110.02861).
        module: The module to train.
        rates: The peak learning rate of each part of the model; a part is the first component of
            its parameters' names, such as "projector".
        decay: The weight decay of matrices (Loshchilov and Hutter, arXiv:1711.05101). Vectors,
            which are biases and norms, do not decay.
        is_fused: Update all parameters in a few kernels, for "adamw" on a GPU. The optimizers of
            bitsandbytes are fused in any case.
    """
    groups: list[dict[str, Any]] = []
    for group, rate in rates.items():
        parameters = [
            parameter
            for name_, parameter in module.named_parameters()
            if parameter.requires_grad and name_.split(".")[0] == group
        ]
        for decays in (True, False):
            chosen = [p for p in parameters if (p.ndim > 1) == decays]
            if chosen:
                settings = {"name": group, "peak": rate, "lr": rate}
                groups.append({"params": chosen, "weight_decay": decays * decay, **settings})
    if name == "adamw":
        return torch.optim.AdamW(groups, betas=BETAS, fused=is_fused or None)
    from bitsandbytes import optim

    kind = optim.PagedAdamW8bit if name == "paged-adam8bit" else optim.AdamW8bit
    optimizer: torch.optim.Optimizer = kind(groups, betas=BETAS)
    return optimizer


def choose_optimizer(name: OptimizerName, device: torch.device, is_sharded: bool) -> OptimizerName:
    """Return the optimizer to use.

    "auto" is 8-bit Adam on a GPU with unsharded weights, else AdamW.

    Raises:
        UsageError: 8-bit moments can't be sharded (FSDP).
    """
    if name == "auto":
        return "adam8bit" if device.type == "cuda" and not is_sharded else "adamw"
    if is_sharded and "8bit" in name:
        raise UsageError("8-bit optimizers can't be sharded", "pass --optimizer adamw")
    return name


def get_moment_bytes(name: OptimizerName) -> int:
    """Return the bytes of optimizer state per trained parameter: two moments in fp32 or 8 bits."""
    return 2 if "8bit" in name else 8


def set_learning_rates(
    optimizer: torch.optim.Optimizer, step: int, steps: int, warmup: int
) -> None:
    """Set the learning rates of a step: linear warmup, then a cosine (arXiv:1608.03983).

    The cosine ends at FINAL_SHARE of the peak of each parameter group.

    Args:
        optimizer: An optimizer of `build_optimizer`.
        step: The step, counted from 0.
        steps: Steps of the whole run.
        warmup: Steps of the warmup.
    """
    if step < warmup:
        factor = (step + 1) / warmup
    else:
        progress = (step - warmup) / max(steps - warmup, 1)
        factor = FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * progress))
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
