"""Measure the memory that a training step takes in addition to the weights.

The bytes that autograd saves in a forward pass are counted for one row and for two; every further
row of a batch takes as much as the second. The count also works on fake tensors, which have shapes
but no memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


@dataclass(frozen=True)
class Footprint:
    """Bytes that training adds to the weights.

    Attributes:
        moments: State of the optimizer.
        gradients: Gradients of the trained parameters.
        activations: What autograd saves for the backward pass of a batch.
        accumulates: The gradients of one batch are kept while the next one runs.
    """

    moments: int
    gradients: int
    activations: int
    accumulates: bool

    @property
    def total(self) -> int:
        """The peak of a step: the backward pass frees activations as it creates gradients."""
        if self.accumulates:
            return self.moments + self.gradients + self.activations
        return self.moments + max(self.gradients, self.activations)


def measure(
    module: nn.Module,
    forward: Callable[[int], Tensor],
    batch: int,
    *,
    moment_bytes: int,
    accumulates: bool,
) -> Footprint:
    """Measure the footprint of a module.

    Args:
        module: The module to train.
        forward: Returns the loss of a given number of rows.
        batch: Rows in a batch.
        moment_bytes: Bytes of optimizer state per trained parameter.
        accumulates: Gradients are accumulated over batches.
    """
    one = _measure_activations(module, lambda: forward(1))
    more = _measure_activations(module, lambda: forward(2)) - one if batch > 1 else 0
    trained = [_local(p) for p in module.parameters() if p.requires_grad]
    return Footprint(
        moments=moment_bytes * sum(p.numel() for p in trained),
        gradients=sum(p.numel() * p.element_size() for p in trained),
        activations=one + (batch - 1) * more,
        accumulates=accumulates,
    )


def _measure_activations(module: nn.Module, forward: Callable[[], Tensor]) -> int:
    """Return the bytes that autograd keeps from a forward pass until its backward pass.

    Hooks don't see the tensors inside of checkpointed layers. Such a layer keeps its input, which
    is as large as the hidden state, and is recomputed alone.
    """
    saved, hidden = _measure_saved(module, forward)
    layers: list[Any] = [m for m in module.modules() if getattr(m, "gradient_checkpointing", False)]
    layers = [layer for layer in layers if layer.training]
    if not layers:
        return saved
    for layer in layers:
        layer.gradient_checkpointing = False
    try:
        unchecked, _ = _measure_saved(module, forward)
    finally:
        for layer in layers:
            layer.gradient_checkpointing = True
    return saved + len(layers) * hidden + (unchecked - saved) // len(layers)


def _measure_saved(module: nn.Module, forward: Callable[[], Tensor]) -> tuple[int, int]:
    """Return the bytes that autograd saves, without weights, and those of the last hidden state."""
    weights = {_local(p).untyped_storage()._cdata for p in module.parameters()}
    storages: dict[int, Any] = {}
    hidden = 0

    def keep(tensor: Tensor) -> Tensor:
        storage = _local(tensor).untyped_storage()
        if storage._cdata not in weights:
            storages[storage._cdata] = storage
        return tensor

    def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal hidden
        hidden = inputs[0].numel() * inputs[0].element_size()

    head = _language(module).get_output_embeddings()
    norms = [m for m in _language(module).modules() if "norm" in type(m).__name__.lower()]
    hook = (norms[-1] if norms else head).register_forward_pre_hook(note)
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = forward()
        total = sum(storage.nbytes() for storage in storages.values())
    finally:
        hook.remove()
    del loss
    return total, hidden


def _language(module: nn.Module) -> Any:
    return getattr(module, "module", module).language  # DDP wraps it


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
