"""Readers of the metrics.jsonl of a run."""

import json
from pathlib import Path


def read_metrics(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def losses(run: Path) -> list[float]:
    """Return the training and validation losses in the order in which they were logged."""
    return [line.get("loss", line.get("validation_loss")) for line in read_metrics(run)]
