"""Before the first step: what will be trained, what it takes, and whether it fits."""

import time
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.distributed.tensor import DTensor

from mmtrain import memory
from mmtrain.data.order import Order, share
from mmtrain.model import positions_of, trained_tokens
from mmtrain.optimizers import bytes_per_parameter
from mmtrain.screen import Screen
from mmtrain.stage import Options, Stage
from mmtui.errors import InputError, MmtuiError

CURES = {
    "pretrain": "lower --batch and raise --accumulation, or lower --block or --size",
    "align": "lower --batch and raise --accumulation, or lower --max-length",
    "finetune": "lower --batch and raise --accumulation, or take --checkpointing, --quantize nf4"
    " or a lower --max-length",
}


def preflight(
    stage: Stage,
    options: Options,
    module: nn.Module,
    optimizer: Any,
    accelerator: Accelerator,
    screen: Screen,
) -> None:
    """Print the plan, then run two batches forward and backward, the longest first.

    Raises MmtuiError, with numbers and cures, if the run will not fit or has no loss. Chance
    and weights are left as they were.
    """
    window = options.window(accelerator.num_processes)
    batches = _two_batches(stage, options, accelerator)
    tokens = np.mean([trained_tokens(batch) for batch in batches]) * window / options.batch
    positions = max(map(positions_of, batches))
    device = accelerator.device
    fixed = _fixed_bytes(module, optimizer.optimizer)
    needed = fixed + activation_bytes(module, positions, max(map(trained_tokens, batches)))
    room = memory.room(device)
    epochs = options.steps * window / max(len(stage.train.lengths), 1)
    for line in [
        *_parameters(module),
        f"rows         {len(stage.train.lengths):,} to train on,"
        f" {len(stage.validation.lengths):,} held out",
        f"steps        {options.steps:,} of {window} rows,"
        f" about {tokens:,.0f} trained tokens each: {epochs:.2f} epochs",
        f"memory       about {_gib(needed)} more, of {_gib(room)} on {device}",
    ]:
        screen.say(line)
    if needed > room:
        raise MmtuiError(
            f"this run needs about {_gib(needed)} more memory, and {_gib(room)} are free",
            CURES[stage.name],
        )
    memory.reset_peak()
    before = memory.used(device)
    with torch.random.fork_rng():
        for batch in batches:
            began = time.perf_counter()
            loss = _forward_and_backward(module, batch, accelerator, stage)
            took = time.perf_counter() - began
    used = memory.peak() - before
    screen.say(f"two batches  loss {loss:.3f} per token, {_gib(used)} of memory used for them")
    whole = timedelta(seconds=round(took * options.accumulation * options.steps))
    screen.say(f"time         about {whole}, as long as the second of them took")


def _two_batches(stage: Stage, options: Options, accelerator: Accelerator) -> list[Any]:
    """The longest rows, and what the first step trains on."""
    window = options.window(accelerator.num_processes)
    first = share(
        Order(stage.train.lengths, window, options.seed).window(0),
        options.accumulation,
        accelerator.process_index,
        accelerator.num_processes,
    )[-1]
    longest = np.argsort(stage.train.lengths, kind="stable")[-len(first) :].tolist()
    return [stage.train.batch(indexes, 0) for indexes in (longest, first)]


def _forward_and_backward(
    module: nn.Module, batch: Any, accelerator: Accelerator, stage: Stage
) -> float:
    try:
        loss = module(batch) / trained_tokens(batch)
        accelerator.backward(loss)
    except torch.cuda.OutOfMemoryError as error:
        raise MmtuiError("two batches do not fit into this GPU", CURES[stage.name]) from error
    except RuntimeError as error:
        if "memory" in str(error):
            raise MmtuiError("two batches do not fit into memory", CURES[stage.name]) from error
        if stage.samples is not None and ("shape" in str(error) or "size" in str(error)):
            raise InputError(
                f"{stage.name}: the parts of the model do not fit together: {error}",
                "the projector belongs to another tower or language model",
            ) from error
        raise
    module.zero_grad()
    if accelerator.device.type == "cuda":
        torch.cuda.synchronize(accelerator.device)  # it is timed
    if not torch.isfinite(loss):
        raise MmtuiError(f"the loss of the first batch is {loss}", "the weights may be damaged")
    return float(loss.detach())


def _parameters(module: nn.Module) -> list[str]:
    lines = []
    for name, part in _parts(module):
        sizes = [(_count(p), p.requires_grad) for p in part.parameters()]
        total = sum(size for size, _ in sizes)
        trained = sum(size for size, is_trained in sizes if is_trained)
        share_of = f"{100 * trained / max(total, 1):.2f} %" if trained < total else "all"
        lines.append(f"{name:12} {total:,} parameters, {trained:,} trained ({share_of})")
    return lines


def _parts(module: nn.Module) -> list[tuple[str, nn.Module]]:
    inner = getattr(module, "module", module)  # DDP wraps it
    return list(inner.named_children())


def _count(parameter: nn.Parameter) -> int:
    """Of a 4-bit weight too, which stores two in a byte."""
    state = getattr(parameter, "quant_state", None)
    return int(np.prod(state.shape)) if state is not None else parameter.numel()


def _fixed_bytes(module: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """What training adds to the weights, which are there already: gradients and moments."""
    per_parameter = bytes_per_parameter(optimizer)
    return sum(
        (p.to_local() if isinstance(p, DTensor) else p).numel() * (p.element_size() + per_parameter)
        for p in module.parameters()
        if p.requires_grad
    )


def activation_bytes(module: nn.Module, positions: int, labelled: int) -> int:
    """Of a forward and backward over a batch.

    A layer keeps about 16 vectors of the hidden size and 3 of the inner one for each
    position (Korthikanti et al., arXiv:2205.05198, without the attention matrix, which is never
    stored); with checkpointing a layer keeps its input, and one layer at a time is whole.
    A logit is kept as such, in fp32, and as its gradient.
    """
    language: Any = dict(_parts(module))["language"]
    config = language.config
    inner = getattr(config, "intermediate_size", 4 * config.hidden_size)
    width = max(next(language.parameters()).element_size(), 2)  # 4-bit weights compute in 16
    layer = positions * (16 * config.hidden_size + 3 * inner) * width
    kept = config.num_hidden_layers * layer
    if getattr(language, "is_gradient_checkpointing", False) and language.training:
        kept = layer + config.num_hidden_layers * positions * config.hidden_size * width
    return int(kept + labelled * config.vocab_size * 10)


def _gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB"
