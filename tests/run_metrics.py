"""What a run wrote into metrics.jsonl."""

import json
from pathlib import Path


def metrics_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def losses(run: Path) -> list[float]:
    return [line.get("loss", line.get("validation_loss")) for line in metrics_of(run)]
