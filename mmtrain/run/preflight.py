"""Check before the first step whether a run fits into memory, and estimate its time."""

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from statistics import median
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from mmtrain.data.sampler import LengthGroupedSampler, split_batch
from mmtrain.model.modules import count_trained_tokens
from mmtrain.options import RunOptions, StageName
from mmtrain.run import footprint, memory
from mmtrain.run.console import RunConsole
from mmtrain.run.footprint import Footprint
from mmtrain.run.optimizers import get_moment_bytes
from mmtrain.stages.stage import Stage
from mmtui.errors import InputError, MmtuiError

MEMORY_HINTS: dict[StageName, str] = {
    "pretrain": "lower --batch and raise --accumulation, pass --checkpointing, or lower --block or"
    " --size",
    "align": "lower --batch and raise --accumulation, or lower --max-length",
    "finetune": "lower --batch and raise --accumulation, or pass --checkpointing, --quantize nf4"
    " or a lower --max-length",
}
TIMED_BATCHES = 4  # after the first batch
SAVE_SPEED = 400e6  # bytes of a state that are written and hashed per second


def preflight(
    stage: Stage,
    options: RunOptions,
    module: nn.Module,
    accelerator: Accelerator,
    console: RunConsole,
    force: bool = False,
) -> None:
    """Print the plan of a run, then run some batches forward and backward.

    The first batch has the longest rows. Weights and random state do not change.

    Args:
        stage: The stage.
        options: The options of the run.
        module: The stage's module, as accelerate prepared it.
        accelerator: The device and the processes.
        console: Where the plan is printed.
        force: Go on even if the run seems to need more memory than is free.

    Raises:
        MmtuiError: The run will not fit into memory and `force` is off, or its loss is not finite.
    """
    device = accelerator.device
    room, before = memory.measure_free(device), memory.measure_used(device)
    memory.reset_peak()
    window = options.count_rows_per_step(accelerator.num_processes)
    batches = _select_batches(stage, options, accelerator)
    tokens = (
        float(np.mean([count_trained_tokens(batch) for batch in batches])) * window / options.batch
    )
    for line in [
        *describe_parameters(module),
        *describe_data(stage.train, stage.validation),
        f"steps        {options.steps:,} of {window} rows,"
        f" about {tokens:,.0f} trained tokens each:"
        f" {options.steps * window / max(len(stage.train.lengths), 1):.2f} epochs",
    ]:
        console.print(line)
    with torch.random.fork_rng():
        needed = _measure_footprint(stage, options, module, accelerator)
        require_memory(options.stage, needed.total, room, force)
        in_pieces = (memory.HEAP_FACTOR - 1) * needed.activations
        if device.type == "cpu" and needed.total + in_pieces > room:
            memory.return_freed_memory()
            memory.reset_peak()
            console.print(
                "memory is scarce: freed memory is returned to the system at once, which is slower"
            )
        forward_s, whole_s, loss = _time_batches(stage, module, batches, accelerator)
        most = needed.moments + memory.measure_peak() - before
        most += needed.gradients if needed.accumulates else 0  # of the batches before
        samples_s = _time_samples(stage, options)
    console.print(f"memory       about {format_gib(most)} more, of {format_gib(room)} on {device}")
    require_memory(options.stage, most, room, force)
    console.print(f"batches      {len(batches)} were tried: loss {loss:.3f} per token")
    seconds = estimate_seconds(
        options,
        math.ceil(
            _count_validation_rows(stage, options) / options.batch / accelerator.num_processes
        ),
        forward_s,
        whole_s,
        samples_s,
        _count_state_bytes(options, module),
    )
    total = timedelta(seconds=round(sum(seconds.values())))
    parts = ", ".join(f"{timedelta(seconds=round(s))} of {name}" for name, s in seconds.items())
    console.print(f"time         about {total}: {parts}")


def require_memory(stage: StageName, needed: int, room: int, force: bool) -> None:
    """Check that a run fits into memory.

    Args:
        stage: The stage, for the hint.
        needed: Bytes that the run needs.
        room: Bytes that are free.
        force: Don't raise.

    Raises:
        MmtuiError: It does not fit.
    """
    if needed > room and not force:
        raise MmtuiError(
            f"this run needs about {format_gib(needed)} more memory, and {format_gib(room)} are"
            " free",
            f"{MEMORY_HINTS[stage]}; or try anyway with --force",
        )


def describe_parameters(module: nn.Module) -> list[str]:
    """Return a line for each part of a model: its parameters, and how many are trained."""
    lines = []
    for name, part in _inner(module).named_children():
        sizes = [(_count(p), p.requires_grad) for p in part.parameters()]
        total = sum(size for size, _ in sizes)
        trained = sum(size for size, is_trained in sizes if is_trained)
        share_of = f"{100 * trained / max(total, 1):.2f} %" if trained < total else "all"
        lines.append(f"{name:12} {total:,} parameters, {trained:,} trained ({share_of})")
    return lines


def describe_data(train: Any, validation: Any) -> list[str]:
    """Return a line with the number of rows and, if rows hold several, of examples."""

    def count(data: Any) -> str:
        rows = f"{len(data.lengths):,}"
        examples = getattr(data, "examples", None)
        return rows if examples is None else f"{rows} ({len(examples):,} examples)"

    return [f"rows         {count(train)} to train on, {count(validation)} held out"]


def format_gib(size: float) -> str:
    """Format a number of bytes in GiB."""
    return f"{size / 2**30:.2f} GiB"


def _select_batches(stage: Stage, options: RunOptions, accelerator: Accelerator) -> list[Any]:
    """Return a batch of the longest rows, and batches spread over the first epoch."""
    order = LengthGroupedSampler(
        stage.train.lengths, options.count_rows_per_step(accelerator.num_processes), options.seed
    )
    count = min(TIMED_BATCHES, options.steps * options.accumulation)
    steps = [index * min(order.batches_per_epoch, options.steps) // count for index in range(count)]
    chosen = [
        split_batch(
            order.batch(step),
            options.accumulation,
            accelerator.process_index,
            accelerator.num_processes,
        )[-1]
        for step in steps
    ]
    return [stage.train.batch(part, 0) for part in (_find_longest(stage, len(chosen[0])), *chosen)]


def _find_longest(stage: Stage, count: int) -> list[int]:
    indexes: list[int] = np.argsort(stage.train.lengths, kind="stable")[-count:].tolist()
    return indexes


def _measure_footprint(
    stage: Stage, options: RunOptions, module: nn.Module, accelerator: Accelerator
) -> Footprint:
    inner = accelerator.unwrap_model(module)

    def forward(rows: int) -> torch.Tensor:
        batch = stage.train.batch(_find_longest(stage, min(rows, len(stage.train.lengths))), 0)
        loss: torch.Tensor = inner(batch)
        return loss

    with _explain_errors(stage):
        return footprint.measure(
            inner,
            forward,
            options.batch,
            moment_bytes=get_moment_bytes(options.optimizer),
            accumulates=options.accumulation > 1,
        )


def _time_batches(
    stage: Stage,
    module: nn.Module,
    batches: Iterable[Any],
    accelerator: Accelerator,
) -> tuple[float, float, float]:
    """Run batches forward and backward.

    Returns:
        The median seconds of a forward pass; those of a whole batch; the loss per token of the last
        batch. The first batch is not counted, because it allocates memory and loads kernels.
    """
    took = []
    for batch in batches:
        began = time.perf_counter()
        with _explain_errors(stage):
            loss = module(batch) / count_trained_tokens(batch)
            _wait(accelerator)
            forward = time.perf_counter()
            accelerator.backward(loss)
        module.zero_grad()
        _wait(accelerator)
        if not torch.isfinite(loss):
            raise MmtuiError(f"the loss of the first batch is {loss}", "the weights may be damaged")
        took.append((forward - began, time.perf_counter() - began))
    timed = took[1:] or took
    return median(f for f, _ in timed), median(w for _, w in timed), float(loss.detach())


def _time_samples(stage: Stage, options: RunOptions) -> float:
    """Return the seconds that the samples of one validation take."""
    if stage.samples is None or not _count_validation_rows(stage, options):
        return 0.0
    began = time.perf_counter()
    stage.module.eval()
    try:
        stage.samples()
    finally:
        stage.module.train(stage.in_training_mode)
    return time.perf_counter() - began


def estimate_seconds(
    options: RunOptions,
    held_out_batches: int,
    forward_s: float,
    whole_s: float,
    samples_s: float,
    state_bytes: int,
) -> dict[str, float]:
    """Estimate the seconds that a run spends on steps, validations and saves.

    Args:
        options: The options of the run.
        held_out_batches: Batches of one validation, per process.
        forward_s: Seconds of the forward pass of a batch.
        whole_s: Seconds of a batch, forward and backward.
        samples_s: Seconds of generating the samples of one validation.
        state_bytes: Bytes that a save writes.
    """
    training = whole_s * options.accumulation * options.steps
    validations = 1 + math.ceil(options.steps / options.eval_every) if held_out_batches else 0
    validating = validations * (held_out_batches * forward_s + samples_s)
    saves = 1 + math.ceil(options.steps / options.save_every)
    if options.save_minutes:
        saves = max(saves, int((training + validating) / 60 / options.save_minutes))
    return {"steps": training, "validation": validating, "saves": saves * state_bytes / SAVE_SPEED}


def _count_validation_rows(stage: Stage, options: RunOptions) -> int:
    return min(len(stage.validation.lengths), options.val_limit)


def _count_state_bytes(options: RunOptions, module: nn.Module) -> int:
    """Return the bytes of a save: the trained weights twice, and the optimizer state."""
    trained = [p for p in module.parameters() if p.requires_grad]
    return sum(
        p.numel() * (2 * p.element_size() + get_moment_bytes(options.optimizer)) for p in trained
    )


@contextmanager
def _explain_errors(stage: Stage) -> Iterator[None]:
    """Explain errors of too little memory, or of components that don't fit together."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise MmtuiError("a batch does not fit into this GPU", MEMORY_HINTS[stage.name]) from error
    except RuntimeError as error:
        if "memory" in str(error):
            raise MmtuiError(
                "a batch does not fit into memory", MEMORY_HINTS[stage.name]
            ) from error
        if stage.samples is not None and ("shape" in str(error) or "size" in str(error)):
            raise InputError(
                f"{stage.name}: the components of the model do not fit together: {error}",
                "the projector belongs to another tower or language model",
            ) from error
        raise


def _wait(accelerator: Accelerator) -> None:
    if accelerator.device.type == "cuda":
        torch.cuda.synchronize(accelerator.device)  # kernels run asynchronously


def _inner(module: nn.Module) -> nn.Module:
    inner: nn.Module = getattr(module, "module", module)  # DDP wraps it
    return inner


def _count(parameter: nn.Parameter) -> int:
    """Return the number of parameters in a tensor; a 4-bit tensor stores two of them in a byte."""
    state = getattr(parameter, "quant_state", None)
    return int(np.prod(state.shape)) if state is not None else parameter.numel()
