"""Text: perplexity per token and per byte of a language model."""

import math
from itertools import islice
from pathlib import Path

import torch

from mmtrain.data import redpajama
from mmtrain.evaluation.scores import Scores
from mmtrain.model import summed_loss
from mmtrain.parts import Parts
from mmtui.errors import InputError
from mmtui.pipeline.assets import Report
from mmtui.pipeline.prompt import IGNORE

WINDOW, STRIDE = 1024, 512  # a token is judged with at least STRIDE tokens before it, if there are


def evaluate(parts: Parts, data: Path, limit: int | None, batch: int, report: Report) -> Scores:
    """Every token of every document counts, the first after an end-of-text token.

    Raises InputError for data without text.
    """
    language = parts.language
    documents = list(islice(redpajama.documents(redpajama.files(data)), limit))
    if not documents:
        raise InputError(f"{data} holds no text to score", 'each line must be JSON with a "text"')
    window = min(WINDOW, language.context)
    end = language.tokenizer.eos_token_id
    rows: list[tuple[list[int], list[int]]] = []
    for text in documents:
        ids = language.tokenizer(text, add_special_tokens=False).input_ids
        rows += _windows([end, *ids], window)
    rows.sort(key=lambda row: len(row[0]))
    loss, tokens = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(rows), batch):
            report("reading", start, len(rows))
            part = rows[start : start + batch]
            length = len(part[-1][0])
            inputs = torch.tensor([ids + [end] * (length - len(ids)) for ids, _ in part])
            targets = torch.tensor(
                [wanted + [IGNORE] * (length - len(wanted)) for _, wanted in part]
            )
            on = targets.to(language.device)
            loss += float(summed_loss(language.model, on, input_ids=inputs.to(language.device)))
            tokens += int((targets != IGNORE).sum())
    report("reading", len(rows), len(rows))
    size = sum(len(text.encode()) for text in documents)
    values: dict[str, float | int] = {
        "documents": len(documents),
        "tokens": tokens,
        "bytes": size,
        "loss_per_token": loss / tokens,
        "perplexity_per_token": math.exp(loss / tokens),
        "perplexity_per_byte": math.exp(loss / size),
    }
    return Scores(values, [])


def _windows(ids: list[int], window: int) -> list[tuple[list[int], list[int]]]:
    """Inputs and targets; windows overlap, and each token is a target once."""
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
