"""Results of an evaluation: scores, predictions, and a contact sheet of the best and worst."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from mmtrain.evaluation import contact_sheet
from mmtui.files import replacing

SHEET_PICTURES = 8  # number of the best, and of the worst


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
        """Return the line of a predictions file."""
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
    with replacing(file) as temporary:
        temporary.write_text("".join(prediction.to_json() + "\n" for prediction in predictions))


def write_sheet(predictions: list[Prediction], file: Path) -> None:
    """Write a PNG of the best pictures, best first, then the worst, worst first."""
    ranked = sorted(predictions, key=lambda prediction: prediction.score or 0.0, reverse=True)
    worst = ranked[SHEET_PICTURES:][-SHEET_PICTURES:]
    cells = [
        (
            p.picture,
            f"{_format_score(p.score)}{p.question or ''}\n{p.prediction}\n({p.references[0]})",
        )
        for p in [*ranked[:SHEET_PICTURES], *reversed(worst)]
    ]
    contact_sheet.draw_sheet(cells, file)


def _format_score(score: float | None) -> str:
    return "" if score is None else f"{score:.2f}  "
