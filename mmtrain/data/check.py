"""Reads any supported data and reports what training would find in it."""

import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmtrain.data import coco, llava, redpajama
from mmtrain.data.examples import Example, Split
from mmtrain.data.features import decoded
from mmtrain.data.literal import literal_core
from mmtrain.data.skipped import Skipped
from mmtui.errors import InputError
from mmtui.pipeline.assets import Report

NAMED = 20  # broken images that are listed
SAMPLED = 2000  # examples whose tokens are counted


def check(path: Path, tokenizer: Any, report: Report) -> dict[str, Any]:
    """Counts, broken images, odd rows and token lengths.

    Raises InputError for what is in no layout that mmtrain knows.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if coco.is_layout(path):
        return {"layout": "COCO captions", **_dialogues(coco.read(path), tokenizer, report)}
    if llava.is_layout(path):
        return {"layout": "LLaVA-Instruct", **_dialogues(llava.read(path), tokenizer, report)}
    return {"layout": "RedPajama text", **_text(path, tokenizer, report)}


def _dialogues(split: Split, tokenizer: Any, report: Report) -> dict[str, Any]:
    examples = split.train + split.validation
    images = list(dict.fromkeys(picture for e in examples for picture in e.pictures))
    broken = []
    with ThreadPoolExecutor() as pool:
        for number, (path, reason) in enumerate(
            zip(images, pool.map(_broken, images), strict=True)
        ):
            report("opening images", number, len(images))
            if reason:
                broken.append({"image": str(path), "reason": reason})
    report("opening images", len(images), len(images))
    sampled = examples[:: max(len(examples) // SAMPLED, 1)]
    return {
        "examples": {"train": len(split.train), "validation": len(split.validation)},
        "text_only": sum(not example.pictures for example in examples),
        "images": len(images),
        "broken_images": len(broken),
        "broken": broken[:NAMED],
        "notes": split.notes,
        "tokens": _spread([_tokens(example, tokenizer) for example in sampled]),
    }


def _text(path: Path, tokenizer: Any, report: Report) -> dict[str, Any]:
    skipped = Skipped()
    core = literal_core(tokenizer)
    files = redpajama.files(path)
    lengths, size = [], 0
    report("reading", 0, 0)
    for text in redpajama.documents(files, skipped):
        size += len(text.encode())
        lengths.append(len(core.encode(text, add_special_tokens=False)))
    notes = skipped.notes("line")
    if not lengths:
        raise InputError(
            f"{path} holds no text",
            "; ".join(notes) or 'each line must be JSON with a "text"',
        )
    return {
        "files": len(files),
        "documents": len(lengths),
        "bytes": size,
        "odd_lines": skipped.total,
        "notes": notes,
        "total_tokens": sum(lengths),
        "tokens": _spread(lengths),
    }


def _broken(path: Path) -> str | None:
    image = decoded(path)
    return str(image) if isinstance(image, InputError) else None


def _tokens(example: Example, tokenizer: Any) -> int:
    """Of its text, without pictures and the chat template."""
    texts = [part for _, content in example.turns for part in content if isinstance(part, str)]
    return sum(len(tokenizer(text, add_special_tokens=False).input_ids) for text in texts)


def _spread(lengths: list[int]) -> dict[str, float]:
    return {
        "least": min(lengths),
        "median": statistics.median(lengths),
        "mean": round(statistics.mean(lengths), 1),
        "most": max(lengths),
    }
