"""Read and write metrics.jsonl: one JSON object per step and per validation.

The file depends on nothing but the run, so that a resumed run has the same file as one that was
never interrupted. Times and memory are shown on the console only.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmtui.errors import InputError
from mmtui.files import replacing

FILE = "metrics.jsonl"
SMOOTHED_SHARE = 0.1  # a smoothed loss averages over about this share of the steps ...
MAX_SMOOTHED_STEPS = 50  # ... and at most over this many


def get_smoothing_decay(steps: int) -> float:
    """Return the decay of the exponential moving average for a run of `steps` steps.

    In a short run the loss falls fast, and an average over many steps would lag behind it.
    """
    return 1 - 1 / min(max(SMOOTHED_SHARE * steps, 1), MAX_SMOOTHED_STEPS)


class Metrics:
    """Appends lines to metrics.jsonl."""

    def __init__(self, out: Path, step: int) -> None:
        """Open the file of a run and remove the lines after `step`; -1 removes all lines."""
        self._path = out / FILE
        kept = [line for line in _read_lines(self._path) if _get_step(line) <= step]
        with replacing(self._path) as partial:
            partial.write_text("".join(line + "\n" for line in kept))

    def append(self, line: dict[str, Any]) -> None:
        """Append a line."""
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def read(out: Path) -> list[dict[str, Any]]:
    """Read the lines of a run.

    Raises:
        InputError: The folder is not that of a run.
    """
    try:
        return [json.loads(line) for line in _read_lines(out / FILE, missing_ok=False)]
    except (OSError, ValueError) as error:
        raise InputError(f"{out} has no readable {FILE}", "pass the folder of a run") from error


def smooth(values: list[float]) -> Iterator[float]:
    """Yield the exponential moving average of values, with the bias correction of Adam."""
    decay = get_smoothing_decay(len(values))
    mean = weight = 0.0
    for value in values:
        mean = decay * mean + (1 - decay) * value
        weight = decay * weight + (1 - decay)
        yield mean / weight


def _read_lines(path: Path, missing_ok: bool = True) -> list[str]:
    """Return the complete lines: a killed process may have cut off the last one."""
    if missing_ok and not path.exists():
        return []
    return [line[:-1] for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _get_step(line: str) -> int:
    return int(json.loads(line)["step"])
