"""What a run shows on stderr: a live bar in a terminal, a line now and then elsewhere."""

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmtrain.run import memory
from mmtrain.run.metrics import smoothing
from mmtui.text import one_line, printable

LINE_EVERY_S = 15.0  # where there is no terminal


class Screen:
    """Silent in all processes but one."""

    def __init__(self, name: str, steps: int, speaks: bool) -> None:
        self._speaks, self._steps = speaks, steps
        self._mean = self._weight = 0.0
        self._validation = ""
        self._last = 0.0
        self._bar: Progress | None = None
        if speaks and sys.stderr.isatty():
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

    def say(self, text: str) -> None:
        """A line that stays."""
        if not self._speaks:
            return
        if self._bar is not None and self._bar.live.is_started:
            self._bar.console.print(printable(text), markup=False, highlight=False)
        else:
            print(printable(text), file=sys.stderr, flush=True)

    def step(self, line: dict[str, Any], tokens_per_s: float) -> None:
        decay = smoothing(self._steps)
        self._mean = decay * self._mean + (1 - decay) * line["loss"]
        self._weight = decay * self._weight + (1 - decay)
        rates = " ".join(f"{name} {rate:.1e}" for name, rate in line["lr"].items())
        figures = (
            f"loss {self._mean / self._weight:.3f}{self._validation} · {tokens_per_s:,.0f} tokens/s"
            f" · lr {rates} · gradient {line['gradient_norm']:.2f}"
            f" · peak {memory.peak() / 2**30:.1f} GiB"
        )
        if self._bar is not None:
            self._bar.start()
            self._bar.update(
                self._bar.task_ids[0], completed=line["step"], figures=one_line(figures)
            )
        elif line["step"] == self._steps or time.monotonic() - self._last > LINE_EVERY_S:
            self._last = time.monotonic()
            self.say(f"step {line['step']:,} of {self._steps:,} · {figures}")

    def validating(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], figures=f"validating, {done} of {total}")

    def validated(self, line: dict[str, Any]) -> None:
        self._validation = f", validation {line['validation_loss']:.3f}"
        self.say(f"step {line['step']:,}: validation loss {line['validation_loss']:.4f}")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
