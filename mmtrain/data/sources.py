"""From what the user says, or does not say, about data to examples."""

import os
from collections.abc import Callable
from pathlib import Path

from mmtrain.data import coco, llava, redpajama, shapes
from mmtrain.data.examples import Split, merge
from mmtui.errors import InputError
from mmtui.paths import resolve
from mmtui.pipeline.assets import fetch

SHAPES = 2000  # images of the synthetic set that stands in


def dialogues(
    given: list[Path], stage: str, images: Path | None, say: Callable[[str], None]
) -> Split:
    """COCO captions or LLaVA-Instruct, each recognized by its layout; several are merged.

    Without `given`: what MMTRAIN_DATA holds, else the synthetic shapes, loudly. Raises
    InputError for a path that holds neither.
    """
    if given:
        return _told(merge(_read(p, images, stage == "align") for p in given), say)
    captions_first = stage == "align"
    if root := os.environ.get("MMTRAIN_DATA"):
        try:
            split = _read(resolve(root), images, captions_first)
        except InputError as error:
            say(f"MMTRAIN_DATA can't be used: {error}")
        else:
            say(f"data: {root}, from MMTRAIN_DATA")
            return _told(merge([split]), say)
    return merge([_read(_synthetic(say), None, captions_first)])


def text(given: list[Path], say: Callable[[str], None]) -> list[Path]:
    """Files of documents; without `given` as for `dialogues`."""
    if given:
        return [file for path in given for file in redpajama.files(path)]
    if root := os.environ.get("MMTRAIN_DATA"):
        try:
            found = redpajama.files(resolve(root))
        except InputError:
            say(f"MMTRAIN_DATA, {root}, holds no text")
        else:
            say(f"data: {root}, from MMTRAIN_DATA")
            return found
    return redpajama.files(_synthetic(say))


def _read(path: Path, images: Path | None, captions_first: bool = True) -> Split:
    if not path.exists():
        raise InputError(f"{path} does not exist")
    has_captions, has_rows = coco.is_layout(path), llava.is_layout(path)
    if has_captions and (captions_first or not has_rows):
        return coco.read(path)
    if has_rows:
        return llava.read(path, images)
    raise InputError(
        f"{path} holds no data that mmtrain knows",
        "it takes annotations/captions_*.json beside the image folders (COCO), or a LLaVA-Instruct"
        " .json beside images/; `mmtrain data shapes --out DIR` makes both to look at",
    )


def _told(split: Split, say: Callable[[str], None]) -> Split:
    for note in split.notes:
        say(f"note: {note}")
    return split


def _synthetic(say: Callable[[str], None]) -> Path:
    say("NO REAL DATA: training on synthetic coloured shapes. Name yours with --data or")
    say("MMTRAIN_DATA; `mmtrain data coco2017 --out DIR` tells how to get COCO.")
    folder = fetch.cache_dir() / "shapes"
    if not folder.exists():
        with fetch.workspace("shapes", needed=50_000_000) as work:
            if not folder.exists():  # another process may have been faster
                shapes.generate(work, SHAPES, seed=0)
                work.rename(folder)
    return folder
