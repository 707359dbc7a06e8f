"""Text: perplexity per token and per byte of a language model."""

import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from mmtrain.data import redpajama
from mmtrain.data.skip_report import SkipReport
from mmtrain.data.tokenization import copy_without_special_tokens
from mmtrain.evaluation.scores import Scores
from mmtrain.model.modules import compute_summed_loss
from mmtui.errors import InputError
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.engines.llamacpp_engine import LlamaEngine, LlamaLanguage
from mmtui.pipeline.engines.torch_language import TorchLanguage
from mmtui.pipeline.prompt import IGNORE

Row = tuple[list[int], list[int]]  # input ids, and the label of each or IGNORE
WINDOW = 1024  # tokens of context; a window advances by STRIDE
STRIDE = 512  # so that a label has at least WINDOW - STRIDE tokens of context, where there are


class TextScorer(Protocol):
    """A language model that computes the loss of text."""

    language: Any  # with `tokenizer` and `context`

    def loss(self, rows: Sequence[Row]) -> float:
        """Return the summed cross-entropy of the rows' labels, in nats."""


class TorchScorer:
    def __init__(self, language: TorchLanguage) -> None:
        self.language = language

    def loss(self, rows: Sequence[Row]) -> float:
        length = max(len(ids) for ids, _ in rows)
        inputs = torch.tensor([ids + [0] * (length - len(ids)) for ids, _ in rows])
        targets = torch.tensor(
            [wanted + [IGNORE] * (length - len(wanted)) for _, wanted in rows]
        ).to(self.language.device)
        inputs = inputs.to(self.language.device)
        return float(compute_summed_loss(self.language.model, targets, input_ids=inputs))


class LlamaCppScorer:
    def __init__(self, language: LlamaLanguage) -> None:
        self.language, self._engine = language, LlamaEngine(language)

    def loss(self, rows: Sequence[Row]) -> float:
        total = 0.0
        for ids, wanted in rows:
            left = np.array(wanted)
            for logits in self._engine.logits(ids):
                targets, left = left[: len(logits)], left[len(logits) :]
                kept = targets != IGNORE
                asked = logits[kept].astype(np.float64)
                asked -= asked.max(axis=-1, keepdims=True)
                label_logits = np.take_along_axis(asked, targets[kept, None], -1)[:, 0]
                total += float((np.log(np.exp(asked).sum(-1)) - label_logits).sum())
        return total


def load_documents(data: Path, limit: int | None) -> tuple[list[str], list[str]]:
    """Return the first `limit` documents, or all, and notes about what was skipped.

    Raises:
        InputError: There is no text, or a file can't be read.
    """
    skipped = SkipReport()
    documents = list(islice(redpajama.iter_documents(redpajama.find_files(data), skipped), limit))
    notes = skipped.notes("line")
    if not documents:
        hint = "; ".join(notes) or 'each line must be JSON with a "text"'
        raise InputError(f"{data} holds no text to score", hint)
    return documents, notes


def evaluate(scorer: TextScorer, documents: list[str], batch: int, report: Report) -> Scores:
    """Score a model on every token of every document, the first after an end-of-text token.

    Raises:
        InputError: The tokenizer makes no token of the documents.
    """
    language = scorer.language
    window = min(WINDOW, language.context_length)
    end = language.tokenizer.eos_token_id
    core = copy_without_special_tokens(language.tokenizer)
    rows: list[Row] = []
    for text in documents:
        ids = core.encode(text, add_special_tokens=False).ids
        rows += _windows([end, *ids], window)
    if not rows:
        raise InputError("this model's tokenizer makes no token of the text")
    rows.sort(key=lambda row: len(row[0]))
    loss, tokens = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(rows), batch):
            report("reading", start, len(rows))
            part = rows[start : start + batch]
            loss += scorer.loss(part)
            tokens += sum(target != IGNORE for _, wanted in part for target in wanted)
    report("reading", len(rows), len(rows))
    size = sum(len(text.encode()) for text in documents)
    values: dict[str, float | int | None] = {
        "documents": len(documents),
        "tokens": tokens,
        "bytes": size,
        "loss_per_token": loss / tokens,
        "perplexity_per_token": math.exp(loss / tokens),
        "perplexity_per_byte": math.exp(loss / size),
    }
    return Scores(values, [])


def _windows(ids: list[int], window: int) -> list[Row]:
    """Split a document into overlapping rows in which each token but the first is a label once."""
    stride = max(window // (WINDOW // STRIDE), 1)
    rows, done = [], 0  # targets so far
    start = 0
    while done < len(ids) - 1:
        part = ids[start : start + window + 1]
        fresh = start + len(part) - 1 - done
        targets = part[1:]
        rows.append((part[:-1], [IGNORE] * (len(targets) - fresh) + targets[-fresh:]))
        done += fresh
        start = done - (window - stride)
    return rows
