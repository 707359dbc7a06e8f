"""From what the user says, or does not say, about data to examples."""

import os
from collections.abc import Callable
from pathlib import Path

from mmtrain.data import coco, llava, redpajama, shapes
from mmtrain.data.examples import Split, merge
from mmtui.errors import InputError
from mmtui.pipeline import assets

SHAPES = 2000  # images of the synthetic set that stands in


def dialogues(
    given: list[Path], stage: str, images: Path | None, say: Callable[[str], None]
) -> Split:
    """COCO captions or LLaVA-Instruct, each recognized by its layout; several are merged.

    Without `given`: what MMTRAIN_DATA holds, else the synthetic shapes, loudly. Raises
    InputError for a path that holds neither.
    """
    if given:
        return _told(merge(_read(path, images) for path in given), say)
    prefers = (coco, llava) if stage == "align" else (llava, coco)
    if root := os.environ.get("MMTRAIN_DATA"):
        for layout in prefers:
            if layout.is_layout(Path(root)):
                say(f"data: {root}, from MMTRAIN_DATA")
                return _told(layout.read(Path(root)), say)
    folder = _synthetic(say)
    return prefers[0].read(folder)


def text(given: list[Path], say: Callable[[str], None]) -> list[Path]:
    """Files of documents; without `given` as for `dialogues`."""
    if given:
        return [file for path in given for file in redpajama.files(path)]
    if root := os.environ.get("MMTRAIN_DATA"):
        try:
            found = redpajama.files(Path(root))
        except InputError:
            say(f"MMTRAIN_DATA, {root}, holds no text")
        else:
            say(f"data: {root}, from MMTRAIN_DATA")
            return found
    return redpajama.files(_synthetic(say))


def _read(path: Path, images: Path | None) -> Split:
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if coco.is_layout(path):
        return coco.read(path)
    if llava.is_layout(path):
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
    folder = assets.cache_dir() / "shapes"
    say("NO REAL DATA: training on synthetic coloured shapes. Name yours with --data or MMTRAIN_DATA;")
    say("`mmtrain data coco2017 --out DIR` tells how to get COCO.")
    if not (folder / shapes.DONE).exists():
        shapes.generate(folder, SHAPES, seed=0)
    return folder
