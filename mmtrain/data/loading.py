"""Find and load the data of a stage: what --data names, else MMTRAIN_DATA, else shapes."""

import os
from collections.abc import Callable
from pathlib import Path

from mmtrain.data import coco, llava, redpajama, shapes
from mmtrain.data.dataset import Split, merge_splits
from mmtui.errors import InputError
from mmtui.paths import resolve
from mmtui.pipeline.assets import fetch

SYNTHETIC_IMAGES = 2000


def load_dialogues(
    paths: list[Path], stage: str, images: Path | None, log: Callable[[str], None]
) -> Split:
    """Load COCO captions or LLaVA-Instruct dialogues, recognized by their layout, and merge them.

    Args:
        paths: Files or folders; if empty, MMTRAIN_DATA is read, else synthetic shapes.
        stage: "align" prefers captions where a folder holds captions and dialogues.
        images: Folder of the images of LLaVA-Instruct data; None searches beside the file.
        log: Called with notes, such as what was skipped.

    Raises:
        InputError: A path holds neither layout.
    """
    prefer_captions = stage == "align"
    if paths:
        return _log_notes(merge_splits(_load(p, images, prefer_captions) for p in paths), log)
    if root := os.environ.get("MMTRAIN_DATA"):
        try:
            split = _load(resolve(root), images, prefer_captions)
        except InputError as error:
            log(f"MMTRAIN_DATA can't be used: {error}")
        else:
            log(f"data: {root}, from MMTRAIN_DATA")
            return _log_notes(merge_splits([split]), log)
    return merge_splits([_load(_synthesize(log), None, prefer_captions)])


def find_text_files(paths: list[Path], log: Callable[[str], None]) -> list[Path]:
    """Return the text files of `paths`, or of the same sources as `load_dialogues`.

    Raises:
        InputError: A path names no text.
    """
    if paths:
        return [file for path in paths for file in redpajama.find_files(path)]
    if root := os.environ.get("MMTRAIN_DATA"):
        try:
            found = redpajama.find_files(resolve(root))
        except InputError:
            log(f"MMTRAIN_DATA can't be used: {root} contains no text")
        else:
            log(f"data: {root}, from MMTRAIN_DATA")
            return found
    return redpajama.find_files(_synthesize(log))


def _load(path: Path, images: Path | None, prefer_captions: bool) -> Split:
    if not path.exists():
        raise InputError(f"{path} does not exist", "check the path after --data")
    has_captions, has_dialogues = coco.is_layout(path), llava.is_layout(path)
    if has_captions and (prefer_captions or not has_dialogues):
        return coco.load_examples(path)
    if has_dialogues:
        return llava.load_examples(path, images)
    raise InputError(
        f"{path} contains no data in a layout that mmtrain knows",
        "use annotations/captions_*.json beside the image folders (COCO), or a LLaVA-Instruct"
        " .json beside images/; `mmtrain data shapes --out DIR` writes an example of both",
    )


def _log_notes(split: Split, log: Callable[[str], None]) -> Split:
    for note in split.notes:
        log(f"note: {note}")
    return split


def _synthesize(log: Callable[[str], None]) -> Path:
    """Return the folder of the synthetic shapes, drawn once and kept in the cache."""
    log("NO REAL DATA: training on synthetic coloured shapes. Pass your own with --data or")
    log("MMTRAIN_DATA; `mmtrain data coco2017 --out DIR` fetches COCO.")
    folder = fetch.get_cache_folder() / "shapes"
    if not folder.exists():
        with fetch.workspace("shapes", needed=50_000_000) as work:
            if not folder.exists():  # another process may have drawn them meanwhile
                shapes.generate(work, SYNTHETIC_IMAGES, seed=0)
                work.rename(folder)
    return folder
