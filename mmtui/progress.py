"""What commands print beside their results: the progress of long steps, notes, and JSON.

Progress is a bar in a terminal, else a line for each step.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mmtui.text import one_line

if TYPE_CHECKING:
    from rich.progress import Progress

    from mmtui.pipeline.assets.fetch import Report

LONG_S = 2.0  # without a terminal, a step gets a line if it takes longer than this


class _Bar:
    """A `Report` that shows the progress of one step after the other."""

    def __init__(self) -> None:
        self._step = ""
        self._started = 0.0
        self._bar: Progress | None = None

    def __call__(self, step: str, done: int, total: int) -> None:
        if step != self._step:
            self._start(step)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, total=total or None)
        elif total and self._started and time.monotonic() - self._started > LONG_S:
            print(f"{step} ...", file=sys.stderr, flush=True)
            self._started = 0.0
        if 0 < total <= done:
            self.stop()

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._step, self._bar = "", None

    def _start(self, step: str) -> None:
        self.stop()
        self._step = step
        if not sys.stderr.isatty():
            self._started = time.monotonic()
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
    """Show progress on stderr while the block runs.

    "starting" is shown at once, because importing torch takes seconds.

    Yields:
        A function to pass to whatever reports progress.
    """
    bar = _Bar()
    bar("starting", 0, 0)
    try:
        yield bar
    finally:
        bar.stop()


def print_notes(notes: Iterable[str]) -> None:
    """Print notes to standard error, each in one line."""
    for note in notes:
        print(one_line(f"note: {note}"), file=sys.stderr, flush=True)


def print_json(document: Any) -> None:
    """Print the JSON document of `--json`, in ASCII, so that it can't control the terminal."""
    print(json.dumps(document, indent=2))
