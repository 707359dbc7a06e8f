"""Long steps on stderr: a bar with an ETA in a terminal, one line per step elsewhere."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

    from mmtui.pipeline.assets.fetch import Report

LONG_S = 2.0  # where there is no terminal, a step is worth a line if it takes longer


class _Bar:
    def __init__(self) -> None:
        self._step = ""
        self._began = 0.0
        self._bar: Progress | None = None

    def __call__(self, step: str, done: int, total: int) -> None:
        if step != self._step:
            self._begin(step)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, total=total or None)
        elif total and self._began and time.monotonic() - self._began > LONG_S:
            print(f"{step} ...", file=sys.stderr, flush=True)
            self._began = 0.0
        if 0 < total <= done:
            self.stop()

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._step, self._bar = "", None

    def _begin(self, step: str) -> None:
        self.stop()
        self._step = step
        if not sys.stderr.isatty():
            self._began = time.monotonic()
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,  # rich would send it to stderr
        )
        self._bar.add_task(step, total=None)
        self._bar.start()


@contextmanager
def reporting() -> "Iterator[Report]":
    """A Report to pass down. Shows at once that something begins: torch takes a while."""
    bar = _Bar()
    bar("starting", 0, 0)
    try:
        yield bar
    finally:
        bar.stop()


def print_json(document: Any) -> None:
    """The one document of `--json`. ASCII: exact, and inert in a terminal."""
    print(json.dumps(document, indent=2))
