"""Optimizers and the learning-rate schedule."""

import math
from typing import Any, Literal

import torch
from torch import nn

from mmtui.errors import UsageError

Name = Literal["auto", "adamw", "adam8bit", "paged-adam8bit"]
FLOOR = 0.1  # of the peak: where the cosine ends
BETAS = (0.9, 0.95)


def build(
    name: Name,
    module: nn.Module,
    rates: dict[str, float],
    decay: float,
    device: torch.device,
    is_sharded: bool = False,
) -> torch.optim.Optimizer:
    """An optimizer of the trained parameters: one group for each of `rates`.

    A group's name is the first part of its parameters' names. `auto` is bitsandbytes' 8-bit
    Adam on a GPU, AdamW elsewhere and where parameters are sharded (FSDP), which 8-bit
    optimizers can't be: UsageError. Vectors (biases, norms) do not decay.
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
    if is_sharded and "8bit" in name:
        raise UsageError("8-bit optimizers can't be sharded", "--optimizer adamw")
    if name == "adamw" or (name == "auto" and (is_sharded or device.type != "cuda")):
        return torch.optim.AdamW(groups, betas=BETAS)
    from bitsandbytes import optim

    kind = optim.PagedAdamW8bit if name == "paged-adam8bit" else optim.AdamW8bit
    optimizer: torch.optim.Optimizer = kind(groups, betas=BETAS)
    return optimizer


def bytes_per_parameter(optimizer: torch.optim.Optimizer) -> int:
    """Of its state: two moments, in fp32 or in 8 bits."""
    return 2 if "8bit" in type(optimizer).__name__ else 8


def set_rates(optimizer: torch.optim.Optimizer, step: int, steps: int, warmup: int) -> None:
    """Linear warm-up, then a cosine down to FLOOR of each group's peak; `step` from 0."""
    if step < warmup:
        factor = (step + 1) / warmup
    else:
        progress = (step - warmup) / max(steps - warmup, 1)
        factor = FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * progress))
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
