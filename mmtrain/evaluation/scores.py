"""Results of an evaluation: scores, predictions, and a contact sheet of the best and worst."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from mmtrain.evaluation import contact_sheet
from mmtui.files import replacing

SHOWN = 8  # of the best, and of the worst


@dataclass(frozen=True)
class Prediction:
    """The output of a model for one item; `score` is None where the metric is undefined."""

    id: str
    prediction: str
    references: list[str]
    score: float | None
    picture: Path | None = None
    question: str | None = None

    def to_json(self) -> str:
        line = {"id": self.id, "prediction": self.prediction, "references": self.references}
        return json.dumps(line | ({"question": self.question} if self.question else {}))


@dataclass(frozen=True)
class Scores:
    """Scores by name, None where one is undefined, with notes about what was skipped."""

    values: dict[str, float | int | None]
    predictions: list[Prediction]
    notes: list[str] = field(default_factory=list)


def write_predictions(predictions: list[Prediction], file: Path) -> None:
    """Write predictions as JSON lines."""
    with replacing(file) as aside:
        aside.write_text("".join(prediction.to_json() + "\n" for prediction in predictions))


def write_sheet(predictions: list[Prediction], file: Path) -> None:
    """Write a PNG of the best pictures, best first, then the worst, worst first."""
    ranked = sorted(predictions, key=lambda prediction: prediction.score or 0.0, reverse=True)
    worst = ranked[SHOWN:][-SHOWN:]
    cells = [
        (p.picture, f"{_shown(p.score)}{p.question or ''}\n{p.prediction}\n({p.references[0]})")
        for p in [*ranked[:SHOWN], *reversed(worst)]
    ]
    contact_sheet.draw(cells, file)


def _shown(score: float | None) -> str:
    return "" if score is None else f"{score:.2f}  "
