"""The training loop of all stages, on accelerate: one process or many, exactly resumable."""

import math
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
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
from mmtrain.run.console import RunConsole
from mmtrain.run.metrics import Metrics
from mmtrain.run.preflight import preflight
from mmtrain.stages.stage import Stage
from mmtui.errors import InputError, MmtuiError, UsageError

TRAINED, OPTIMIZER = "trained.safetensors", "optimizer.pt"


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
        )
        stage.module.train(stage.in_training_mode)
        self._module, self._optimizer = accelerator.prepare(stage.module, optimizer)
        self._module.train(stage.in_training_mode)
        self._saved_at = 0
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
        with _interruption() as interrupted, ThreadPoolExecutor(1) as loader:
            next_batches: Future[list[Any]] = loader.submit(self._batches, start)
            for step in range(start, options.steps):
                started = time.perf_counter()
                batches = next_batches.result()
                if step + 1 < options.steps:
                    next_batches = loader.submit(self._batches, step + 1)
                line, read, stop, due = self._step(
                    step, batches, interrupted(), self._is_save_due()
                )
                self._console.show_step(line, read / (time.perf_counter() - started))
                done = step + 1
                last = done == options.steps
                if last or done % options.eval_every == 0:
                    self._evaluate(done)
                if last or stop or due or done % options.save_every == 0:
                    self._save(done)
                if stop and not last:
                    self._console.print(f"saved after step {done}; --resume auto continues the run")
                    raise KeyboardInterrupt
        self._console.close()

    def _batches(self, step: int) -> list[Any]:
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

    def _step(
        self, step: int, batches: list[Any], interrupted: bool, due: bool
    ) -> tuple[dict[str, Any], int, bool, bool]:
        """Take one optimizer step.

        Args:
            step: The step, counted from 0.
            batches: The batches of this process, whose gradients are accumulated.
            interrupted: This process was asked to stop.
            due: It is time to save.

        Returns:
            The line of metrics; the tokens that all processes read, without padding; whether any
            process was asked to stop; whether to save.
        """
        accelerator, module = self._accelerator, self._module
        counted = torch.tensor(
            [
                sum(map(count_trained_tokens, batches)),
                sum(map(count_tokens, batches)),
                interrupted,
                due,
            ],
            device=accelerator.device,
        )
        tokens, read, stop, is_due = accelerator.reduce(counted, "sum").tolist()
        if not tokens:
            raise self._make_error(step, "no label in this step")
        optimizers.set_learning_rates(
            self._optimizer, step, self._options.steps, self._options.warmup_steps
        )
        summed = torch.zeros((), dtype=torch.float64, device=accelerator.device)
        for number, batch in enumerate(batches, 1):
            with nullcontext() if number == len(batches) else accelerator.no_sync(module):
                loss = module(batch)
                # DDP averages gradients over processes, but the loss is the mean over all tokens.
                accelerator.backward(loss * (accelerator.num_processes / tokens))
            summed += loss.detach()
        norm = sharding.to_float(
            accelerator.clip_grad_norm_(module.parameters(), self._options.clip or math.inf)
        )
        mean = float(accelerator.reduce(summed, "sum")) / tokens
        if not math.isfinite(mean) or not math.isfinite(norm):
            raise self._make_error(step, f"loss {mean}, gradient norm {norm}")
        self._optimizer.step()
        self._optimizer.zero_grad()
        rates = {group["name"]: group["lr"] for group in self._optimizer.param_groups}
        line = {
            "step": step + 1,
            "loss": mean,
            "gradient_norm": norm,
            "tokens": tokens,
            "lr": rates,
        }
        self._log(line)
        return line, read, bool(stop), bool(is_due)

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
                sums += torch.tensor([float(loss), count_trained_tokens(batch)], device=sums.device)
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
