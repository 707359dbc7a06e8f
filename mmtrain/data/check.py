"""Report what training or an evaluation would find in data of any supported layout."""

import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrain.data import coco, llava, redpajama, transcripts, vqa
from mmtrain.data.dataset import Example, Split
from mmtrain.data.features import decode_view
from mmtrain.data.referenced_files import raise_for_broken_files
from mmtrain.data.skip_report import SkipReport
from mmtrain.data.tokenization import copy_without_special_tokens
from mmtui.errors import InputError
from mmtui.pipeline.assets.fetch import Report

MAX_LISTED_IMAGES = 20  # broken ones
MAX_TOKENIZED_EXAMPLES = 2000  # about; evenly spaced ones of larger data

Facts = dict[str, Any]


@dataclass(frozen=True)
class CheckResult:
    """The result of a check.

    Attributes:
        reports: The facts of each layout that was found, by name.
        refusals: Why training or an evaluation would refuse data.
    """

    reports: list[Facts]
    refusals: list[InputError]


def check(path: Path, images: Path | None, tokenizer: Any, report: Report) -> CheckResult:
    """Count the examples, tokens and skipped rows of each layout in a path.

    Args:
        path: A file, a folder, or a glob pattern of text files.
        images: The folder of the images of LLaVA-Instruct data; None searches beside the data.
        tokenizer: The tokenizer that counts the tokens.
        report: Called with the progress.

    Raises:
        InputError: The data is in no supported layout, or nothing in it can be read.
    """
    core = copy_without_special_tokens(tokenizer)
    checks: list[Callable[[], tuple[Facts, dict[Path, InputError]]]] = []
    if coco.is_layout(path):
        checks.append(
            lambda: _check_dialogues("COCO captions", coco.load_examples(path), core, report)
        )
    if llava.is_layout(path):
        checks.append(
            lambda: _check_dialogues(
                "LLaVA-Instruct", llava.load_examples(path, images), core, report
            )
        )
    if vqa.is_layout(path):
        checks.append(lambda: _check_questions(path, report))
    if transcripts.is_layout(path):
        checks.append(lambda: _check_recordings(path, report))
    if files := _find_text_files(path, has_other_layouts=bool(checks)):
        checks.append(lambda: _check_text(path, files, core, report))
    found = CheckResult([], [])
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
            found.refusals.append(
                InputError(str(error), "replace them, or remove them and their rows")
            )
    if not found.reports:
        raise found.refusals[0]
    return found


def _find_text_files(path: Path, *, has_other_layouts: bool) -> list[Path]:
    """Return the text files of a path; without other layouts, also those of its subfolders."""
    if not has_other_layouts:
        is_pattern = any(character in str(path) for character in "*?[")
        if not path.exists() and not is_pattern:
            raise InputError(f"{path} does not exist", "check the path")
        return redpajama.find_files(path)
    if not path.is_dir():
        return []
    return sorted(f for f in path.iterdir() if f.name.endswith(redpajama.SUFFIXES))


def _check_dialogues(
    layout: str, split: Split, core: Any, report: Report
) -> tuple[Facts, dict[Path, InputError]]:
    examples = split.train + split.validation
    images = list(dict.fromkeys(picture for e in examples for picture in e.pictures))
    broken = _find_broken(images, report)
    sampled = examples[:: max(len(examples) // MAX_TOKENIZED_EXAMPLES, 1)]
    facts = {
        "layout": layout,
        "examples": {"train": len(split.train), "validation": len(split.validation)},
        "text_only": sum(not example.pictures for example in examples),
        **_summarize_images(images, broken),
        "notes": split.notes,
        "tokens": _summarize_lengths([_count_tokens(example, core) for example in sampled]),
    }
    return facts, broken


def _check_questions(path: Path, report: Report) -> tuple[Facts, dict[Path, InputError]]:
    questions, notes = vqa.load_questions(path)
    images = list(dict.fromkeys(picture for q in questions for picture in q.all_pictures))
    broken = _find_broken(images, report)
    facts = {"layout": "questions to score", "questions": len(questions)}
    return {**facts, **_summarize_images(images, broken), "notes": notes}, broken


def _check_recordings(path: Path, report: Report) -> tuple[Facts, dict[Path, InputError]]:
    recordings, notes = transcripts.load_recordings(path, None, report)
    facts = {"layout": "recordings to score", "recordings": len(recordings), "notes": notes}
    return facts, {}


def _check_text(
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
        raise InputError(f"{path} contains no text", hint)
    facts = {
        "layout": "RedPajama text",
        "files": len(files),
        "documents": len(lengths),
        "bytes": size,
        "odd_lines": skipped.total,
        "notes": notes,
        "total_tokens": sum(lengths),
        "tokens": _summarize_lengths(lengths),
    }
    return facts, {}


def _find_broken(images: list[Path], report: Report) -> dict[Path, InputError]:
    broken = {}
    with ThreadPoolExecutor() as pool:
        opened = pool.map(_find_defect, images)
        for number, (path, reason) in enumerate(zip(images, opened, strict=True)):
            report("opening images", number, len(images))
            if reason is not None:
                broken[path] = reason
    report("opening images", len(images), len(images))
    return broken


def _find_defect(path: Path) -> InputError | None:
    image = decode_view(path)
    return image if isinstance(image, InputError) else None


def _summarize_images(images: list[Path], broken: dict[Path, InputError]) -> Facts:
    listed = [{"image": str(path), "reason": str(broken[path])} for path in broken]
    return {
        "images": len(images),
        "broken_images": len(broken),
        "broken": listed[:MAX_LISTED_IMAGES],
    }


def _count_tokens(example: Example, core: Any) -> int:
    """Count the tokens of the text, without pictures and the chat template."""
    texts = [part for _, content in example.turns for part in content if isinstance(part, str)]
    return sum(len(core.encode(text, add_special_tokens=False)) for text in texts)


def _summarize_lengths(lengths: list[int]) -> dict[str, float]:
    return {
        "least": min(lengths),
        "median": statistics.median(lengths),
        "mean": round(statistics.mean(lengths), 1),
        "most": max(lengths),
    }
