"""Evaluate a language model by its perplexity per token and per byte of text."""

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
from mmtui.pipeline.engines.llama_language import LlamaLanguage
from mmtui.pipeline.engines.llamacpp_engine import LlamaEngine
from mmtui.pipeline.engines.torch_language import TorchLanguage
from mmtui.pipeline.prompt import IGNORE_INDEX

Row = tuple[list[int], list[int]]  # input ids, and the label of each position or IGNORE_INDEX
# Documents are split into windows that overlap, so that every label but the first of a document
# has at least WINDOW - STRIDE tokens of context, or all tokens before it.
WINDOW = 1024  # tokens
STRIDE = 512  # tokens


class TextScorer(Protocol):
    """A language model that computes the loss of text."""

    language: Any  # has `tokenizer` and `context_length`

    def loss(self, rows: Sequence[Row]) -> float:
        """Return the summed cross-entropy of the rows' labels, in nats."""


class TorchScorer:
    """Computes the loss with PyTorch."""

    def __init__(self, language: TorchLanguage) -> None:
        self.language = language

    def loss(self, rows: Sequence[Row]) -> float:
        length = max(len(ids) for ids, _ in rows)
        inputs = torch.tensor([ids + [0] * (length - len(ids)) for ids, _ in rows])
        labels = torch.tensor(
            [labels + [IGNORE_INDEX] * (length - len(labels)) for _, labels in rows]
        )
        device, model = self.language.device, self.language.model
        return float(compute_summed_loss(model, labels.to(device), input_ids=inputs.to(device)))


class LlamaCppScorer:
    """Computes the loss with llama.cpp, of the quantized weights."""

    def __init__(self, language: LlamaLanguage) -> None:
        self.language, self._engine = language, LlamaEngine(language)

    def loss(self, rows: Sequence[Row]) -> float:
        total = 0.0
        for ids, row_labels in rows:
            remaining = np.array(row_labels)
            for chunk in self._engine.stream_logits(ids):
                labels, remaining = remaining[: len(chunk)], remaining[len(chunk) :]
                has_label = labels != IGNORE_INDEX
                logits = chunk[has_label].astype(np.float64)
                logits -= logits.max(axis=-1, keepdims=True)  # for a stable log-sum-exp
                label_logits = np.take_along_axis(logits, labels[has_label, None], -1)[:, 0]
                total += float((np.log(np.exp(logits).sum(-1)) - label_logits).sum())
        return total


def load_documents(data: Path, limit: int | None) -> tuple[list[str], list[str]]:
    """Return the first `limit` documents (None: all), and notes about what was skipped.

    Raises:
        InputError: There is no text, or a file can't be read.
    """
    skipped = SkipReport()
    documents = list(islice(redpajama.iter_documents(redpajama.find_files(data), skipped), limit))
    notes = skipped.notes("line")
    if not documents:
        hint = "; ".join(notes) or 'each line must be JSON with a "text"'
        raise InputError(f"{data} contains no text to evaluate", hint)
    return documents, notes


def evaluate(scorer: TextScorer, documents: list[str], batch: int, report: Report) -> Scores:
    """Score a model on every token of every document.

    The context of a document's first token is an end-of-text token.

    Raises:
        InputError: The documents have no tokens.
    """
    language = scorer.language
    window = min(WINDOW, language.context_length)
    end = language.tokenizer.eos_token_id
    core = copy_without_special_tokens(language.tokenizer)
    rows: list[Row] = []
    for text in documents:
        ids = core.encode(text, add_special_tokens=False).ids
        rows += _split_into_windows([end, *ids], window)
    if not rows:
        raise InputError("the text has no tokens for this model's tokenizer")
    rows.sort(key=lambda row: len(row[0]))
    loss, tokens = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(rows), batch):
            report("scoring", start, len(rows))
            part = rows[start : start + batch]
            loss += scorer.loss(part)
            tokens += sum(label != IGNORE_INDEX for _, labels in part for label in labels)
    report("scoring", len(rows), len(rows))
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


def _split_into_windows(ids: list[int], window: int) -> list[Row]:
    """Split a document into overlapping rows in which each token but the first is a label once."""
    stride = max(window // (WINDOW // STRIDE), 1)
    rows: list[Row] = []
    done = 0  # labels so far
    start = 0
    while done < len(ids) - 1:
        part = ids[start : start + window + 1]
        new = start + len(part) - 1 - done
        labels = part[1:]
        rows.append((part[:-1], [IGNORE_INDEX] * (len(labels) - new) + labels[-new:]))
        done += new
        start = done - (window - stride)
    return rows
