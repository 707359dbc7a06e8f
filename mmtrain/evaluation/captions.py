"""Captions: CIDEr-D, BLEU-4 and the loss per token, on data in COCO's layout."""

from pathlib import Path
from typing import Any

import torch

from mmtrain.answering import Answerer
from mmtrain.data import coco
from mmtrain.data.batches import Dialogues
from mmtrain.data.coco import QUESTION, Captioned
from mmtrain.evaluation.scores import Prediction, Scores
from mmtrain.model import VisionLanguage, trained_tokens
from mmtrain.parts import Parts
from mmtui.errors import InputError
from mmtui.pipeline.assets import Report

# What COCO's evaluation takes out after splitting into words.
_PUNCTUATION = {
    "''", "'", "``", "`", "(", ")", "{", "}", ".", "?", "!", ",", ":", "-", "--", "...", ";",
}  # fmt: skip


def evaluate(
    parts: Parts, answerer: Answerer, data: Path, limit: int | None, batch: int, report: Report
) -> Scores:
    """Raises InputError for data in another layout."""
    items = _usable(_items(data)[:limit], parts)
    questions = [[("user", (item.image, QUESTION))] for item in items]
    answers = answerer.answer(questions, batch, report=report)  # type: ignore[arg-type]
    references = [list(item.captions) for item in items]
    cider, ciders = cider_d(answers, references)
    values: dict[str, float | int] = {
        "images": len(items),
        "cider_d": cider,
        "bleu_4": bleu_4(answers, references),
        "loss_per_token": _loss(parts, answerer, items, batch, report),
        "distinct": len(set(answers)),
    }
    predictions = [
        Prediction(item.image.name, answer, list(item.captions), score, item.image)
        for item, answer, score in zip(items, answers, ciders, strict=True)
    ]
    return Scores(values, predictions)


def cider_d(answers: list[str], references: list[list[str]]) -> tuple[float, list[float]]:
    """The mean and each answer's CIDEr-D (arXiv:1411.5726) over these references.

    pycocoevalcap's scale: 1.0 is about a person. One image has no corpus to weigh words by: 0.
    """
    from pycocoevalcap.cider.cider import Cider

    mean, each = Cider().compute_score(*_numbered(answers, references))
    return float(mean), [float(score) for score in each]


def bleu_4(answers: list[str], references: list[list[str]]) -> float:
    from pycocoevalcap.bleu.bleu import Bleu

    scores, _ = Bleu(4).compute_score(*_numbered(answers, references), verbose=0)
    return float(scores[3])


def _numbered(answers: list[str], references: list[list[str]]) -> tuple[Any, Any]:
    said = {number: [words(answer)] for number, answer in enumerate(answers)}
    meant = {number: [words(text) for text in texts] for number, texts in enumerate(references)}
    return meant, said


def words(text: str) -> str:
    """Lower-case words with single spaces, without punctuation: Penn Treebank's splitting."""
    from nltk.tokenize import NLTKWordTokenizer

    tokens = NLTKWordTokenizer().tokenize(text.lower())
    kept = [token.rstrip(".") for token in tokens if token not in _PUNCTUATION]
    return " ".join(token for token in kept if token)


def _items(data: Path) -> list[Captioned]:
    """Of the validation annotations; of all if there are none."""
    files = sorted((data / "annotations").glob("captions_*.json"))
    chosen = [file for file in files if coco.validates(file)] or files
    if not chosen:
        raise InputError(
            f"{data} holds no captions to score",
            "COCO's layout: annotations/captions_val2017.json beside val2017/",
        )
    return [item for file in chosen for item in coco.captioned(file, [])]


def _usable(items: list[Captioned], parts: Parts) -> list[Captioned]:
    assert parts.store is not None
    parts.store.require([item.image for item in items])
    return items


def _loss(
    parts: Parts, answerer: Answerer, items: list[Captioned], batch: int, report: Report
) -> float:
    limit = parts.language.context
    data = Dialogues(coco.examples_of(items), parts.chat, parts.store, parts.shape, limit)
    module = VisionLanguage(parts.language.model, answerer.projector)
    order = sorted(range(len(data.lengths)), key=data.lengths.__getitem__)
    total, tokens = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(order), batch):
            report("computing losses", start, len(order))
            part = data.batch(order[start : start + batch])
            total += float(module(part))
            tokens += trained_tokens(part)
    report("computing losses", len(order), len(order))
    return total / tokens
