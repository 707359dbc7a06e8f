"""Optimizers and the learning-rate schedule."""

import math
from typing import Any

import torch
from torch import nn

from mmtrain.options import OptimizerName
from mmtui.errors import UsageError

FLOOR = 0.1  # of the peak: where the cosine ends
BETAS = (0.9, 0.95)


def build(
    name: OptimizerName,
    module: nn.Module,
    rates: dict[str, float],
    decay: float,
    device: torch.device,
    is_sharded: bool = False,
) -> torch.optim.Optimizer:
    """An optimizer of the trained parameters: one group for each of `rates`.

    A group's name is the first part of its parameters' names. Vectors (biases, norms) do not
    decay.

    Raises:
        UsageError: As `choose_optimizer`.
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
    name = choose_optimizer(name, device, is_sharded)
    if name == "adamw":
        return torch.optim.AdamW(groups, betas=BETAS)
    from bitsandbytes import optim

    kind = optim.PagedAdamW8bit if name == "paged-adam8bit" else optim.AdamW8bit
    optimizer: torch.optim.Optimizer = kind(groups, betas=BETAS)
    return optimizer


def choose_optimizer(name: OptimizerName, device: torch.device, is_sharded: bool) -> OptimizerName:
    """What `auto` stands for: 8-bit Adam on a GPU, AdamW elsewhere or where weights are sharded.

    Raises:
        UsageError: 8-bit moments can't be sharded (FSDP).
    """
    if name == "auto":
        return "adam8bit" if device.type == "cuda" and not is_sharded else "adamw"
    if is_sharded and "8bit" in name:
        raise UsageError("8-bit optimizers can't be sharded", "--optimizer adamw")
    return name


def moment_bytes(name: OptimizerName) -> int:
    """Bytes of the optimizer's state for each trained number: two moments, in fp32 or 8 bits."""
    return 2 if "8bit" in name else 8


def set_rates(optimizer: torch.optim.Optimizer, step: int, steps: int, warmup: int) -> None:
    """Linear warm-up, then a cosine down to FLOOR of each group's peak; `step` from 0."""
    if step < warmup:
        factor = (step + 1) / warmup
    else:
        progress = (step - warmup) / max(steps - warmup, 1)
        factor = FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * progress))
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
