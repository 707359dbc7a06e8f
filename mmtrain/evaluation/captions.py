"""Captions: CIDEr-D, BLEU-4 and the loss per token, on data in COCO's layout."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mmtrain.data import coco
from mmtrain.data.coco import CAPTION_QUESTION, CaptionedImage
from mmtrain.data.dialogue_dataset import DialogueDataset
from mmtrain.data.skip_report import SkipReport
from mmtrain.evaluation.scores import Prediction, Scores
from mmtrain.model.generation import AnswerGenerator
from mmtrain.model.loading import Components
from mmtrain.model.modules import VisionLanguage, count_trained_tokens
from mmtui.errors import InputError
from mmtui.pipeline.assets.fetch import Report

CIDER_NEEDS_TWO = "CIDEr-D is undefined for one image: it weighs words by how rare they are"
# What COCO's evaluation takes out after splitting into words.
_PUNCTUATION = {
    "''", "'", "``", "`", "(", ")", "{", "}", ".", "?", "!", ",", ":", "-", "--", "...", ";",
}  # fmt: skip


def evaluate(
    components: Components,
    generator: AnswerGenerator,
    items: list[CaptionedImage],
    batch: int,
    report: Report,
) -> Scores:
    """Score a model on images that can be read, each with a caption that has words."""
    questions = [[("user", (item.image, CAPTION_QUESTION))] for item in items]
    answers = generator.generate(questions, batch, report=report)  # type: ignore[arg-type]
    references = [list(item.captions) for item in items]
    cider, ciders = cider_d(answers, references)
    values: dict[str, float | int | None] = {
        "images": len(items),
        "cider_d": cider,
        "bleu_4": bleu_4(answers, references),
        "loss_per_token": _loss(components, generator, items, batch, report),
        "distinct": len(set(answers)),
    }
    predictions = [
        Prediction(item.image.name, answer, list(item.captions), score, item.image)
        for item, answer, score in zip(items, answers, ciders, strict=True)
    ]
    return Scores(values, predictions, [CIDER_NEEDS_TWO] if cider is None else [])


def cider_d(
    answers: list[str], references: list[list[str]]
) -> tuple[float | None, Sequence[float | None]]:
    """Return the mean CIDEr-D (arXiv:1411.5726) and that of each answer, as pycocoevalcap does.

    1.0 is about the score of a person. The scores of a single image are None: CIDEr-D weighs a
    word by how few images have it in their references.
    """
    from pycocoevalcap.cider.cider import Cider

    if len(answers) < 2:
        return None, [None] * len(answers)
    mean, each = Cider().compute_score(*_numbered(answers, references))
    return float(mean), [float(score) for score in each]


def bleu_4(answers: list[str], references: list[list[str]]) -> float:
    """Return BLEU-4 over all answers (Papineni et al. 2002), as pycocoevalcap computes it."""
    from pycocoevalcap.bleu.bleu import Bleu

    scores, _ = Bleu(4).compute_score(*_numbered(answers, references), verbose=0)
    return float(scores[3])


def _numbered(answers: list[str], references: list[list[str]]) -> tuple[Any, Any]:
    said = {number: [words(answer)] for number, answer in enumerate(answers)}
    meant = {number: [words(text) for text in texts] for number, texts in enumerate(references)}
    return meant, said


def words(text: str) -> str:
    """Return Penn Treebank tokens in lower case without punctuation, joined by spaces."""
    from nltk.tokenize import NLTKWordTokenizer

    tokens = NLTKWordTokenizer().tokenize(text.lower())
    kept = [token.rstrip(".") for token in tokens if token not in _PUNCTUATION]
    return " ".join(token for token in kept if token)


def load_images(data: Path, limit: int | None) -> tuple[list[CaptionedImage], list[str]]:
    """Return the first `limit` captioned images, or all, and notes about what was skipped.

    They are those of captions_val*.json, or of all annotation files if there is none.

    Raises:
        InputError: The data is in another layout, or more than a few images are missing.
    """
    files = sorted((data / "annotations").glob("captions_*.json"))
    chosen = [file for file in files if coco.is_validation_file(file)] or files
    if not chosen:
        raise InputError(
            f"{data} contains no captions to score",
            "COCO's layout: annotations/captions_val2017.json beside val2017/",
        )
    notes: list[str] = []
    skipped = SkipReport()
    items = []
    for item in (item for file in chosen for item in coco.load_captioned_images(file, notes)):
        if said := tuple(caption for caption in item.captions if words(caption)):
            items.append(CaptionedImage(item.image, said))
        else:
            skipped.add("its captions have no words", item.image.name)
    notes += skipped.notes("image")
    if not items:
        raise InputError(f"{data} contains no captions with words", "; ".join(notes))
    return items[:limit], notes


def _loss(
    components: Components,
    generator: AnswerGenerator,
    items: list[CaptionedImage],
    batch: int,
    report: Report,
) -> float:
    limit = components.language.context_length
    data = DialogueDataset(
        coco.to_examples(items), components.chat, components.store, components.shape, limit
    )
    module = VisionLanguage(components.language.model, generator.projector)
    order = sorted(range(len(data.lengths)), key=data.lengths.__getitem__)
    total, tokens = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(order), batch):
            report("computing losses", start, len(order))
            part = data.batch(order[start : start + batch])
            total += float(module(part))
            tokens += count_trained_tokens(part)
    report("computing losses", len(order), len(order))
    return total / tokens
