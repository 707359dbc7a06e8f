"""What an evaluation gives: scores, a prediction for each item, and a picture of the extremes."""

import json
from dataclasses import dataclass
from pathlib import Path

from mmtrain import sheets

SHOWN = 8  # of the best, and of the worst


@dataclass(frozen=True)
class Prediction:
    """`score` orders the contact sheet."""

    id: str
    prediction: str
    references: list[str]
    score: float
    picture: Path | None = None
    question: str | None = None

    def to_json(self) -> str:
        line = {"id": self.id, "prediction": self.prediction, "references": self.references}
        return json.dumps(line | ({"question": self.question} if self.question else {}))


@dataclass(frozen=True)
class Scores:
    values: dict[str, float | int]
    predictions: list[Prediction]


def write_predictions(predictions: list[Prediction], file: Path) -> None:
    """One JSON object a line."""
    file.write_text("".join(prediction.to_json() + "\n" for prediction in predictions))


def write_sheet(predictions: list[Prediction], file: Path) -> None:
    """The best, from the best on, then the worst, from the worst on; each with its score."""
    ranked = sorted(predictions, key=lambda prediction: prediction.score, reverse=True)
    worst = ranked[SHOWN:][-SHOWN:]
    cells = [
        (p.picture, f"{p.score:.2f}  {p.question or ''}\n{p.prediction}\n({p.references[0]})")
        for p in [*ranked[:SHOWN], *reversed(worst)]
    ]
    sheets.draw(cells, file)
