"""metrics.jsonl: one line a step, one a validation; a pure function of the run.

Times and memory are of the machine: they go to the screen, and never here, so that a run
that was interrupted and resumed has the file of one that was not.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmtui.errors import InputError
from mmtui.files import replacing

FILE = "metrics.jsonl"
SMOOTHED_SHARE = 0.1  # of a run's steps: about the last tenth makes a smoothed loss
SMOOTHED_STEPS = 50  # at most


def smoothing(steps: int) -> float:
    """The decay of an exponential mean over a run of `steps` steps.

    A mean over many steps lags behind the loss of a short run, which falls fast.
    """
    return 1 - 1 / min(max(SMOOTHED_SHARE * steps, 1), SMOOTHED_STEPS)


class Metrics:
    """Appends lines; those after `step` are cut off when a run resumes there (-1: it begins)."""

    def __init__(self, out: Path, step: int) -> None:
        self._path = out / FILE
        kept = [line for line in _lines(self._path) if _step(line) <= step]
        with replacing(self._path) as aside:
            aside.write_text("".join(line + "\n" for line in kept))

    def add(self, line: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def read(out: Path) -> list[dict[str, Any]]:
    """Raises InputError if the folder is no run's."""
    try:
        return [json.loads(line) for line in _lines(out / FILE, missing_ok=False)]
    except (OSError, ValueError) as error:
        raise InputError(f"{out} has no readable {FILE}", "name the folder of a run") from error


def smoothed(values: list[float]) -> Iterator[float]:
    """An exponential mean, corrected for its start (as Adam's moments are)."""
    decay = smoothing(len(values))
    mean = weight = 0.0
    for value in values:
        mean = decay * mean + (1 - decay) * value
        weight = decay * weight + (1 - decay)
        yield mean / weight


def _lines(path: Path, missing_ok: bool = True) -> list[str]:
    """Whole lines only: a kill may cut the last one."""
    if missing_ok and not path.exists():
        return []
    return [line[:-1] for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _step(line: str) -> int:
    return int(json.loads(line)["step"])
