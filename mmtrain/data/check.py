"""Reads any supported data and reports what training or an evaluation would find in it."""

import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrain.data import coco, llava, redpajama, transcripts, vqa
from mmtrain.data.dataset import Example, Split
from mmtrain.data.features import decoded
from mmtrain.data.referenced_files import raise_for_broken_files
from mmtrain.data.skip_report import SkipReport
from mmtrain.data.tokenization import copy_without_special_tokens
from mmtui.errors import InputError
from mmtui.pipeline.assets.fetch import Report

NAMED = 20  # broken images that are listed
SAMPLED = 2000  # examples whose tokens are counted

Facts = dict[str, Any]


@dataclass(frozen=True)
class Checked:
    """What was found, a report for each layout, and why data would be refused."""

    reports: list[Facts]
    refusals: list[InputError]


def check(path: Path, images: Path | None, tokenizer: Any, report: Report) -> Checked:
    """Count what is there in each layout, what is skipped and why, and tokens.

    Args:
        path: A file, a folder, or a pattern of text files.
        images: Where the images of LLaVA-Instruct data are; None: beside it.
        tokenizer: Whose tokens to count.
        report: Told of the progress.

    Raises:
        InputError: The data is in no layout that mmtrain knows, or in a single one that training
            would refuse without having found anything in it.
    """
    core = copy_without_special_tokens(tokenizer)
    checks: list[Callable[[], tuple[Facts, dict[Path, InputError]]]] = []
    if coco.is_layout(path):
        checks.append(lambda: _dialogues("COCO captions", coco.load_examples(path), core, report))
    if llava.is_layout(path):
        checks.append(
            lambda: _dialogues("LLaVA-Instruct", llava.load_examples(path, images), core, report)
        )
    if vqa.is_layout(path):
        checks.append(lambda: _questions(path, report))
    if transcripts.is_layout(path):
        checks.append(lambda: _recordings(path, report))
    if files := _text_files(path, beside_others=bool(checks)):
        checks.append(lambda: _text(path, files, core, report))
    found = Checked([], [])
    for run in checks:
        try:
            facts, broken = run()
        except InputError as error:
            found.refusals.append(error)
            continue
        found.reports.append(facts)
        try:
            raise_for_broken_files("image", broken, facts.get("images", 0))
        except InputError as error:
            found.refusals.append(InputError(str(error), "replace them, or take them out"))
    if not found.reports:
        raise found.refusals[0]
    return found


def _text_files(path: Path, *, beside_others: bool) -> list[Path]:
    """Text in the folder itself; where data of no other layout is, in all folders below."""
    if not beside_others:
        is_pattern = any(character in str(path) for character in "*?[")
        if not path.exists() and not is_pattern:
            raise InputError(f"{path} does not exist")
        return redpajama.find_files(path)
    if not path.is_dir():
        return []
    return sorted(f for f in path.iterdir() if f.name.endswith(redpajama.SUFFIXES))


def _dialogues(
    layout: str, split: Split, core: Any, report: Report
) -> tuple[Facts, dict[Path, InputError]]:
    examples = split.train + split.validation
    images = list(dict.fromkeys(picture for e in examples for picture in e.pictures))
    broken = _broken(images, report)
    sampled = examples[:: max(len(examples) // SAMPLED, 1)]
    facts = {
        "layout": layout,
        "examples": {"train": len(split.train), "validation": len(split.validation)},
        "text_only": sum(not example.pictures for example in examples),
        **_images(images, broken),
        "notes": split.notes,
        "tokens": _spread([_tokens(example, core) for example in sampled]),
    }
    return facts, broken


def _questions(path: Path, report: Report) -> tuple[Facts, dict[Path, InputError]]:
    asked, notes = vqa.load_questions(path)
    images = list(dict.fromkeys(question.picture for question in asked))
    broken = _broken(images, report)
    facts = {"layout": "questions to score", "questions": len(asked)}
    return {**facts, **_images(images, broken), "notes": notes}, broken


def _recordings(path: Path, report: Report) -> tuple[Facts, dict[Path, InputError]]:
    recordings, notes = transcripts.read(path, None, report)
    facts = {"layout": "recordings to score", "recordings": len(recordings), "notes": notes}
    return facts, {}


def _text(
    path: Path, files: list[Path], core: Any, report: Report
) -> tuple[Facts, dict[Path, InputError]]:
    skipped = SkipReport()
    lengths, size = [], 0
    report("reading", 0, 0)
    for text in redpajama.iter_documents(files, skipped):
        size += len(text.encode())
        lengths.append(len(core.encode(text, add_special_tokens=False)))
    notes = skipped.notes("line")
    if not lengths:
        hint = "; ".join(notes) or 'each line must be JSON with a "text"'
        raise InputError(f"{path} holds no text", hint)
    facts = {
        "layout": "RedPajama text",
        "files": len(files),
        "documents": len(lengths),
        "bytes": size,
        "odd_lines": skipped.total,
        "notes": notes,
        "total_tokens": sum(lengths),
        "tokens": _spread(lengths),
    }
    return facts, {}


def _broken(images: list[Path], report: Report) -> dict[Path, InputError]:
    broken = {}
    with ThreadPoolExecutor() as pool:
        opened = pool.map(_reason, images)
        for number, (path, reason) in enumerate(zip(images, opened, strict=True)):
            report("opening images", number, len(images))
            if reason is not None:
                broken[path] = reason
    report("opening images", len(images), len(images))
    return broken


def _reason(path: Path) -> InputError | None:
    image = decoded(path)
    return image if isinstance(image, InputError) else None


def _images(images: list[Path], broken: dict[Path, InputError]) -> Facts:
    named = [{"image": str(path), "reason": str(broken[path])} for path in broken]
    return {"images": len(images), "broken_images": len(broken), "broken": named[:NAMED]}


def _tokens(example: Example, core: Any) -> int:
    """Of its text, without pictures and the chat template."""
    texts = [part for _, content in example.turns for part in content if isinstance(part, str)]
    return sum(len(core.encode(text, add_special_tokens=False)) for text in texts)


def _spread(lengths: list[int]) -> dict[str, float]:
    return {
        "least": min(lengths),
        "median": statistics.median(lengths),
        "mean": round(statistics.mean(lengths), 1),
        "most": max(lengths),
    }
