"""Optimizers: a rate for each part, the schedule, and the state across implementations."""

import copy

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from mmtrain.run.optimizers import build_optimizer, set_learning_rates
from mmtrain.run.sharding import gather_state, load_state


@pytest.mark.parametrize("name", ["adamw", "adam8bit"])
def test_each_part_has_its_rate_and_the_schedule_ends_at_a_tenth(name):
    module = nn.ModuleDict({"projector": nn.Linear(4096, 4), "language": nn.Linear(4, 4)})
    module["language"].bias.requires_grad_(False)
    rates = {"projector": 1e-3, "language": 1e-4}
    optimizer = build_optimizer(name, module, rates, 0.1)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 3
    for step, factor in ((0, 0.25), (3, 1.0), (4, 1.0), (104, 0.1)):
        set_learning_rates(optimizer, step, steps=104, warmup=4)
        for group in optimizer.param_groups:
            assert group["lr"] == pytest.approx(rates[group["name"]] * factor)
    set_learning_rates(optimizer, 3, steps=104, warmup=4)
    before = module["projector"].weight.clone()
    module["language"](module["projector"](torch.ones(2, 4096))).sum().backward()
    optimizer.step()
    assert not torch.equal(before, module["projector"].weight)


@pytest.mark.parametrize("is_fused", [False, True])
def test_a_state_is_loaded_with_fused_adamw_and_without(is_fused):
    """A GPU uses the fused form and a CPU the other; each keeps its form."""
    accelerator = Accelerator(cpu=True)

    def build(fused: bool) -> tuple[nn.Module, torch.optim.Optimizer]:
        module = nn.ModuleDict({"projector": nn.Linear(4, 4)})
        rates = {"projector": 1e-2}
        return module, build_optimizer("adamw", module, rates, 0.1, is_fused=fused)

    def step(module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        module["projector"](torch.ones(2, 4)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    saved, other = build(is_fused), build(not is_fused)
    step(*saved)
    load_state(accelerator, *other, *copy.deepcopy(gather_state(accelerator, *saved)))
    assert [group["fused"] for group in other[1].param_groups] == [None if is_fused else True] * 2
    for trained in (saved, other):
        step(*trained)
    for left, right in zip(saved[0].parameters(), other[0].parameters(), strict=True):
        assert torch.allclose(left, right, atol=1e-6)
