"""Gather and load trained parameters and optimizer state, sharded (FSDP) or not."""

from typing import Any, cast

from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_state_dict,
)
from torch.distributed.tensor import DTensor

from mmtrain.model.modules import get_trained_state, load_trained_state


def gather_state(
    accelerator: Accelerator, module: nn.Module, optimizer: Any
) -> tuple[dict[str, Tensor], Any]:
    """Return all trained parameters and the optimizer state, complete on the main process.

    All processes must call it. The state of a sharded optimizer before its first step is None.
    """
    if accelerator.distributed_type != DistributedType.FSDP:
        return get_trained_state(accelerator.unwrap_model(module)), optimizer.state_dict()
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    if not optimizer.optimizer.state:  # torch would take a step to have one
        return cast("dict[str, Tensor]", get_model_state_dict(module, options=options)), None
    trained, moments = get_state_dict(module, optimizer.optimizer, options=options)
    return cast("dict[str, Tensor]", trained), moments


def load_state(
    accelerator: Accelerator,
    module: nn.Module,
    optimizer: Any,
    trained: dict[str, Tensor],
    moments: Any,
) -> None:
    """Load what `gather_state` returned into a module and its optimizer.

    Whether AdamW is fused depends on this machine, not on the one that saved the state.

    Raises:
        KeyError, RuntimeError, ValueError: The state is that of another model.
    """
    for group in moments["param_groups"] if moments is not None else []:
        if "fused" in group:
            group["fused"] = optimizer.param_groups[0]["fused"]
    if accelerator.distributed_type != DistributedType.FSDP:
        load_trained_state(accelerator.unwrap_model(module), trained)
        optimizer.load_state_dict(moments)
        return
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    if moments is None:
        set_model_state_dict(module, cast("Any", dict(trained)), options=options)
        return
    set_state_dict(
        module,
        optimizer.optimizer,
        model_state_dict=cast("Any", dict(trained)),  # torch puts the shards into it
        optim_state_dict=moments,
        options=options,
    )


def to_full(value: Tensor) -> Tensor:
    """Return a tensor, sharded or not, as one on this device."""
    return value.full_tensor() if isinstance(value, DTensor) else value
