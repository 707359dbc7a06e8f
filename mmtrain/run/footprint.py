"""How much memory a step of training takes, beside the weights.

Activations are measured, not modelled: what autograd saves in a forward pass is counted, for one
row and for two, and the rest of a batch costs what the second row did. On fake tensors, which have
shapes but no memory, the same count tells of a model that is not here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


@dataclass(frozen=True)
class Footprint:
    """Bytes that training adds: `activations` of one batch, `moments` of the optimizer.

    `accumulates`: gradients of one batch are kept while another runs.
    """

    moments: int
    gradients: int
    activations: int
    accumulates: bool

    @property
    def total(self) -> int:
        """All of them at the worst moment.

        Backward frees the activations of a layer before it makes the next gradients.
        """
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
    """The footprint of a batch of `batch` rows; `forward(n)` is the loss of n rows.

    `moment_bytes`: of the optimizer's state, for each trained number.
    """
    one = _activation_bytes(module, lambda: forward(1))
    more = _activation_bytes(module, lambda: forward(2)) - one if batch > 1 else 0
    trained = [_local(p) for p in module.parameters() if p.requires_grad]
    return Footprint(
        moments=moment_bytes * sum(p.numel() for p in trained),
        gradients=sum(p.numel() * p.element_size() for p in trained),
        activations=one + (batch - 1) * more,
        accumulates=accumulates,
    )


def _activation_bytes(module: nn.Module, forward: Callable[[], Tensor]) -> int:
    """What autograd keeps of a forward pass until backward.

    Hooks don't see inside of checkpointed layers. These keep their inputs, which are as large as
    the hidden state, and one layer at a time is computed again.
    """
    kept, hidden = _saved_bytes(module, forward)
    layers: list[Any] = [m for m in module.modules() if getattr(m, "gradient_checkpointing", False)]
    layers = [layer for layer in layers if layer.training]
    if not layers:
        return kept
    for layer in layers:
        layer.gradient_checkpointing = False
    try:
        whole, _ = _saved_bytes(module, forward)
    finally:
        for layer in layers:
            layer.gradient_checkpointing = True
    return kept + len(layers) * hidden + (whole - kept) // len(layers)


def _saved_bytes(module: nn.Module, forward: Callable[[], Tensor]) -> tuple[int, int]:
    """Bytes that autograd saves, without weights; and those of the last layer's output."""
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
