"""Show a run on stderr: a progress bar in a terminal, a line every 15 seconds elsewhere."""

import builtins
import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmtrain.run import memory
from mmtrain.run.metrics import get_smoothing_decay
from mmtui.text import one_line, printable

LINE_INTERVAL_S = 15.0  # without a terminal


class RunConsole:
    """Shows the progress of a run."""

    def __init__(self, name: str, steps: int, is_enabled: bool) -> None:
        """Prepare the progress bar.

        Args:
            name: The stage.
            steps: Optimizer steps of the run.
            is_enabled: Show anything; off in all processes but the main one.
        """
        self._is_enabled, self._steps = is_enabled, steps
        self._mean = self._weight = 0.0
        self._validation = ""
        self._last = 0.0
        self._bar: Progress | None = None
        if is_enabled and sys.stderr.isatty():
            self._bar = Progress(
                TextColumn(name, markup=False),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}", markup=False),
                console=Console(stderr=True),
                redirect_stdout=False,
            )
            self._bar.add_task(name, total=steps, figures="")

    def print(self, text: str) -> None:
        """Print a line above the progress bar."""
        if not self._is_enabled:
            return
        if self._bar is not None and self._bar.live.is_started:
            self._bar.console.print(printable(text), markup=False, highlight=False)
        else:
            builtins.print(printable(text), file=sys.stderr, flush=True)

    def show_step(self, line: dict[str, Any], tokens_per_s: float) -> None:
        """Show a step: its line of metrics.jsonl, and the tokens read per second."""
        decay = get_smoothing_decay(self._steps)
        self._mean = decay * self._mean + (1 - decay) * line["loss"]
        self._weight = decay * self._weight + (1 - decay)
        rates = " ".join(f"{name} {rate:.1e}" for name, rate in line["lr"].items())
        figures = (
            f"loss {self._mean / self._weight:.3f}{self._validation} · {tokens_per_s:,.0f} tokens/s"
            f" · lr {rates} · gradient norm {line['gradient_norm']:.2f}"
            f" · peak memory {memory.measure_peak() / 2**30:.1f} GiB"
        )
        if self._bar is not None:
            self._bar.start()
            self._bar.update(
                self._bar.task_ids[0], completed=line["step"], figures=one_line(figures)
            )
        elif line["step"] == self._steps or time.monotonic() - self._last > LINE_INTERVAL_S:
            self._last = time.monotonic()
            self.print(f"step {line['step']:,} of {self._steps:,} · {figures}")

    def show_validation(self, done: int, total: int) -> None:
        """Show how many batches of a validation are done."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], figures=f"validating: batch {done} of {total}")

    def print_validation(self, line: dict[str, Any]) -> None:
        """Print the loss of a validation: its line of metrics.jsonl."""
        self._validation = f" · validation loss {line['validation_loss']:.3f}"
        self.print(f"step {line['step']:,}: validation loss {line['validation_loss']:.4f}")

    def close(self) -> None:
        """Remove the progress bar."""
        if self._bar is not None:
            self._bar.stop()
