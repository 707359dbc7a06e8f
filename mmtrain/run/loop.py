"""The training loop of all stages, on accelerate: one process or many, exactly resumable."""

import math
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor

from mmtrain.data.sampler import LengthGroupedSampler, split_batch
from mmtrain.evaluation import contact_sheet
from mmtrain.model.modules import count_tokens, count_trained_tokens
from mmtrain.options import RunOptions
from mmtrain.run import optimizers, plotting, sharding, state
from mmtrain.run.batches import load_batches
from mmtrain.run.console import RunConsole
from mmtrain.run.metrics import Metrics
from mmtrain.run.preflight import preflight
from mmtrain.stages.stage import Stage
from mmtui.errors import InputError, MmtuiError, UsageError

TRAINED, OPTIMIZER = "trained.safetensors", "optimizer.pt"


@dataclass(frozen=True)
class _Step:
    """An optimizer step that is launched, over all processes.

    Attributes:
        number: The step, counted from 0.
        loss_and_norm: (2,) the weighted mean of the tokens' losses, and the norm of the gradient,
            on the device.
        tokens: Labels that were trained on.
        read: Tokens that were read, without padding.
        rates: The learning rate of each part.
        stops: A process was asked to stop.
        saves: It is time to save.
    """

    number: int
    loss_and_norm: Tensor
    tokens: int
    read: int
    rates: dict[str, float]
    stops: bool
    saves: bool


class Loop:
    """Trains a stage."""

    def __init__(
        self,
        stage: Stage,
        options: RunOptions,
        out: Path,
        accelerator: Accelerator,
        console: RunConsole,
    ) -> None:
        self._stage, self._options, self._out = stage, options, out
        self._accelerator, self._console = accelerator, console
        is_sharded = accelerator.distributed_type == DistributedType.FSDP
        if is_sharded and stage.samples is not None:
            raise UsageError(f"{stage.name} can't be sharded", "launch it without FSDP")
        optimizer = optimizers.build_optimizer(
            options.optimizer,
            stage.module,
            options.learning_rates,
            options.weight_decay,
            is_fused=accelerator.device.type == "cuda",
        )
        stage.module.train(stage.in_training_mode)
        self._module, self._optimizer = accelerator.prepare(stage.module, optimizer)
        self._module.train(stage.in_training_mode)
        self._saved_at = 0
        self._began = 0.0  # when the step that runs was launched, or the one before it ended
        self._metrics: Metrics | None = None  # in the main process

    def check(self, force: bool = False) -> None:
        """Run the pre-flight.

        Raises:
            MmtuiError: The run will not fit into memory, and `force` is off.
        """
        preflight(self._stage, self._options, self._module, self._accelerator, self._console, force)

    def run(self, resumed: tuple[int, Path] | None = None) -> None:
        """Train to the last step, from the first one or from a saved state.

        Args:
            resumed: The step and the folder of the state to resume from.

        Raises:
            KeyboardInterrupt: SIGINT or SIGTERM was received, and the state is saved.
            MmtuiError: The loss is not finite, or the disk is full.
        """
        options = self._options
        window = options.count_rows_per_step(self._accelerator.num_processes)
        self._order = LengthGroupedSampler(self._stage.train.lengths, window, options.seed)
        # Dropout differs between processes. A resumed run restores its random state instead.
        torch.manual_seed(options.seed + self._accelerator.process_index)
        start = self._load(*resumed) if resumed else 0
        self._saved_at = start
        if self._accelerator.is_main_process:
            self._metrics = Metrics(self._out, start if resumed else -1)
        if not resumed:
            self._evaluate(0)
            self._save(0)
        self._saved_time = time.monotonic()
        steps = range(start, options.steps)
        with _interruption() as is_interrupted, closing(self._load_batches(steps)) as loaded:
            self._take_steps(steps, loaded, is_interrupted)
        self._console.close()

    def _load_batches(self, steps: range) -> Generator[list[Any]]:
        is_ahead = is_asynchronous(self._accelerator.device) and sys.platform == "linux"
        is_cuda = self._accelerator.device.type == "cuda"
        return load_batches(self._make_batches, steps, in_background=is_ahead, pins=is_cuda)

    def _take_steps(
        self, steps: range, loaded: Iterator[list[Any]], is_interrupted: Callable[[], bool]
    ) -> None:
        """Take steps; validate and save where it is due.

        A GPU computes a step after this process has launched it. Its loss is read after the next
        step is launched too, so that the GPU does not wait in between.

        Args:
            steps: The steps.
            loaded: The batches of each step.
            is_interrupted: Returns whether the run was asked to stop.
        """
        options = self._options
        runs_ahead = is_asynchronous(self._accelerator.device)
        pending: _Step | None = None
        self._began = time.perf_counter()
        for number, batches in zip(steps, loaded, strict=True):
            step = self._step(number, batches, is_interrupted(), self._is_save_due())
            if pending is not None:
                self._finish(pending)
            pending = step
            done = number + 1
            last = done == options.steps
            evaluates = last or done % options.eval_every == 0
            saves = last or step.stops or step.saves or done % options.save_every == 0
            if evaluates or saves or not runs_ahead:
                self._finish(step)
                pending = None
            if evaluates:
                self._evaluate(done)
            if saves:
                self._save(done)
            if evaluates or saves:
                self._began = time.perf_counter()
            if step.stops and not last:
                self._console.print(f"saved after step {done}; --resume auto continues the run")
                raise KeyboardInterrupt

    def _make_batches(self, step: int) -> list[Any]:
        accelerator = self._accelerator
        parts = split_batch(
            self._order.batch(step),
            self._options.accumulation,
            accelerator.process_index,
            accelerator.num_processes,
        )
        return [self._stage.train.batch(part, step) for part in parts]

    def _is_save_due(self) -> bool:
        """Return whether --save-minutes have passed, by the clock of the main process."""
        minutes = self._options.save_minutes
        is_late = minutes > 0 and time.monotonic() - self._saved_time >= 60 * minutes
        return is_late and self._accelerator.is_main_process

    def _step(self, number: int, batches: list[Any], interrupted: bool, due: bool) -> "_Step":
        """Launch one optimizer step.

        Args:
            number: The step, counted from 0.
            batches: The batches of this process, whose gradients are accumulated.
            interrupted: This process was asked to stop.
            due: It is time to save.
        """
        accelerator, module = self._accelerator, self._module
        counts = [
            sum(map(count_trained_tokens, batches)),
            sum(map(count_tokens, batches)),
            int(interrupted),
            int(due),
        ]
        weight = sum(map(self._stage.count_weight, batches))
        if accelerator.num_processes > 1:
            counted = torch.tensor(
                [*counts, weight], dtype=torch.float64, device=accelerator.device
            )
            *numbers, weight = accelerator.reduce(counted, "sum").tolist()
            counts = [int(number) for number in numbers]
        tokens, read, stops, saves = counts
        if not tokens:
            raise self._make_error(number, "no label in this step")
        optimizers.set_learning_rates(
            self._optimizer, number, self._options.steps, self._options.warmup_steps
        )
        summed = torch.zeros((), dtype=torch.float64, device=accelerator.device)
        for position, batch in enumerate(batches, 1):
            with nullcontext() if position == len(batches) else accelerator.no_sync(module):
                loss = module(batch)
                # DDP averages gradients over processes, but the loss is the mean over all tokens.
                accelerator.backward(loss * (accelerator.num_processes / weight))
            summed += loss.detach()
        norm = sharding.to_full(
            accelerator.clip_grad_norm_(module.parameters(), self._options.clip or math.inf)
        )
        self._optimizer.step()
        self._optimizer.zero_grad()
        rates = {group["name"]: group["lr"] for group in self._optimizer.param_groups}
        loss_and_norm = torch.stack([accelerator.reduce(summed, "sum") / weight, norm.double()])
        return _Step(number, loss_and_norm, tokens, read, rates, bool(stops), bool(saves))

    def _finish(self, step: "_Step") -> None:
        """Wait for a launched step, log it and show it.

        Raises:
            MmtuiError: The loss or the gradient is not finite. The weights are spoiled then, and
                not saved.
        """
        loss, norm = step.loss_and_norm.tolist()
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise self._make_error(step.number, f"loss {loss}, gradient norm {norm}")
        line = {
            "step": step.number + 1,
            "loss": loss,
            "gradient_norm": norm,
            "tokens": step.tokens,
            "lr": step.rates,
        }
        self._log(line)
        began, self._began = self._began, time.perf_counter()
        self._console.show_step(line, step.read / (self._began - began))

    def _make_error(self, step: int, problem: str) -> MmtuiError:
        names = self._stage.train.names(self._order.batch(step))
        shown = ", ".join(names[:4]) + (" ..." if len(names) > 4 else "")
        return MmtuiError(
            f"step {step + 1}: {problem}, in {shown}",
            f"look at these samples, or lower --lr; the state of step {self._saved_at} is intact",
        )

    @torch.no_grad()
    def _evaluate(self, step: int) -> None:
        accelerator, data = self._accelerator, self._stage.validation
        count = min(len(data.lengths), self._options.val_limit)
        if not count:
            return
        spread = [index * len(data.lengths) // count for index in range(count)]
        chosen = sorted(spread, key=data.lengths.__getitem__)
        size = self._options.batch
        batches = [chosen[at : at + size] for at in range(0, count, size)]
        batches += [[]] * (-len(batches) % accelerator.num_processes)
        self._module.eval()
        sums = torch.zeros(2, dtype=torch.float64, device=accelerator.device)
        for number, indexes in enumerate(
            batches[accelerator.process_index :: accelerator.num_processes]
        ):
            self._console.show_validation(number * accelerator.num_processes, len(batches))
            # All processes take part in each forward pass, which gathers sharded parameters.
            batch = data.batch(indexes or chosen[:1], 0)
            loss = self._module(batch)
            if indexes:
                sums[0] += loss
                sums[1] += count_trained_tokens(batch)
        loss, tokens = accelerator.reduce(sums, "sum").tolist()
        line = {"step": step, "validation_loss": loss / tokens}
        self._log(line)
        self._console.print_validation(line)
        if self._stage.samples and accelerator.is_main_process:
            contact_sheet.write_samples(self._out, step, self._stage.samples())
        self._module.train(self._stage.in_training_mode)
        accelerator.wait_for_everyone()

    def _log(self, line: dict[str, Any]) -> None:
        if self._metrics is not None:
            self._metrics.append(line)
        values = {key: value for key, value in line.items() if key not in ("step", "lr")}
        values |= {f"lr/{name}": rate for name, rate in line.get("lr", {}).items()}
        self._accelerator.log(values, step=line["step"])

    def _save(self, step: int) -> None:
        accelerator = self._accelerator
        try:
            if accelerator.is_main_process:
                state.start(self._out, step)
            accelerator.wait_for_everyone()
            partial = state.get_partial_folder(self._out, step)
            trained, moments = sharding.gather_state(accelerator, self._module, self._optimizer)
            state.save_object(partial, f"random-{accelerator.process_index}.pt", _random_state())
            if accelerator.is_main_process:
                state.save_tensors(partial, TRAINED, trained)
                state.save_object(partial, OPTIMIZER, moments)
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                # The model is written first, so that it is never older than an intact state.
                self._stage.export(self._out, trained)
                state.seal(self._out, step)
                plotting.plot([self._out], self._out / "loss.png")
            self._saved_at, self._saved_time = step, time.monotonic()
        except Exception as error:
            state.discard(self._out, step)
            if not state.is_disk_full(error):
                raise
            raise MmtuiError(
                f"the disk is full: step {step} can't be saved;"
                f" the last intact state is that of step {self._saved_at}",
                "free some space, then continue with --resume auto",
            ) from error
        accelerator.wait_for_everyone()

    def _load(self, step: int, place: Path) -> int:
        accelerator = self._accelerator
        try:
            random = state.load_object(place, f"random-{accelerator.process_index}.pt")
            trained = state.load_tensors(place, TRAINED)
            moments = state.load_object(place, OPTIMIZER)
            sharding.load_state(accelerator, self._module, self._optimizer, trained, moments)
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise InputError(f"{place} does not fit this run: {error}") from error
        torch.set_rng_state(random["cpu"])
        if torch.cuda.is_available() and "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"])
        return step


def is_asynchronous(device: torch.device) -> bool:
    """Return whether a device computes while this process goes on."""
    return device.type == "cuda"


def _random_state() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


@contextmanager
def _interruption() -> Iterator[Any]:
    """Let Ctrl-C and SIGTERM stop the run after the current step; a second Ctrl-C stops it at once.

    Yields:
        A function that returns whether the run was asked to stop.
    """
    asked = False

    def ask(number: int, _: FrameType | None) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
