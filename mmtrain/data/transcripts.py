"""Recordings with reference transcripts: sound files beside transcripts.tsv.

Each line of transcripts.tsv is the name of a file, a tab, and its transcript. A first line that
names no file, such as "file<tab>text", is a header.
"""

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from mmtrain.data.referenced_files import FileFinder, raise_for_broken_files
from mmtrain.data.skip_report import SkipReport
from mmtui.errors import InputError
from mmtui.files import read_text
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.input_files import read_clip

TRANSCRIPTS_FILE = "transcripts.tsv"
LAYOUT_HINT = (
    "put sound files beside transcripts.tsv, each line of which is a file name, a tab and the"
    " transcript"
)


@dataclass(frozen=True)
class Recording:
    """A sound file and its reference transcript."""

    file: Path
    text: str


def is_layout(root: Path) -> bool:
    """Return whether a folder holds recordings with transcripts."""
    return (root / TRANSCRIPTS_FILE).is_file()


def split_words(text: str) -> list[str]:
    """Return the words of a transcript in lower case, without punctuation, for comparisons."""
    characters = (
        character
        if character == "'" or not unicodedata.category(character).startswith(("P", "S"))
        else " "
        for character in unicodedata.normalize("NFC", text).lower().replace("\u2019", "'")
    )
    return [word for word in "".join(characters).split() if word.strip("'")]


def load_recordings(
    root: Path, limit: int | None, report: Report
) -> tuple[list[Recording], list[str]]:
    """Load the recordings of a folder.

    Every sound file is decoded once, so that a broken one is found before a model is loaded.

    Args:
        root: The folder with transcripts.tsv.
        limit: Number of usable lines to load; None loads all.
        report: Called with the progress.

    Returns:
        The recordings, and notes about what was skipped.

    Raises:
        InputError: The folder is in another layout, or more than a few of the files are missing
            or broken.
    """
    file = root / TRANSCRIPTS_FILE
    if not file.is_file():
        raise InputError(f"{root} contains no {TRANSCRIPTS_FILE}", LAYOUT_HINT)
    skipped = SkipReport()
    lines: list[tuple[str, str]] = []  # file name and transcript
    for number, line in enumerate(read_text(file).split("\n"), 1):
        name, tab, text = line.strip("\r").partition("\t")
        if not line.strip():
            continue
        if number == 1 and tab and not (root / name).suffix and not (root / name).exists():
            skipped.add("it is a header", f"line 1, {name!r}")
        elif not tab:
            skipped.add("it has no tab", f"line {number}")
        elif not split_words(text):
            skipped.add("its transcript has no words", f"line {number}, {name!r}")
        else:
            lines.append((name, text))
    recordings = _find_usable(file, lines[:limit], skipped, report)
    notes = skipped.notes("line", TRANSCRIPTS_FILE)
    if not recordings:
        raise InputError(
            f"{file} names no recording with a transcript", "; ".join(notes) or LAYOUT_HINT
        )
    return recordings, notes


def _find_usable(
    source: Path, lines: list[tuple[str, str]], skipped: SkipReport, report: Report
) -> list[Recording]:
    """Return the recordings whose sound file exists and can be decoded."""
    files = FileFinder("sound file", [source.parent])
    existing = []
    for name, text in lines:
        if file := files.find(name):
            existing.append(Recording(file, text))
        else:
            skipped.add("its sound file is missing", repr(name))
    files.raise_for_missing(source, LAYOUT_HINT)
    broken: dict[Path, InputError] = {}
    for number, recording in enumerate(existing):
        report("opening sound files", number, len(existing))
        try:
            read_clip(recording.file)
        except InputError as error:
            broken[recording.file] = error
            skipped.add("its sound file is broken", str(error))
    report("opening sound files", len(existing), len(existing))
    raise_for_broken_files("sound file", broken, len(existing))
    return [recording for recording in existing if recording.file not in broken]
