"""Recordings and what is said in them: sound files beside transcripts.tsv.

Each line of transcripts.tsv is a file's name, a tab, and what is said. A first line that names
no file, such as "file<tab>text", is a header.
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

FILE = "transcripts.tsv"
LAYOUT = "the layout is sound files beside transcripts.tsv: a file's name, a tab, what is said"


@dataclass(frozen=True)
class Recording:
    file: Path
    text: str


def is_layout(root: Path) -> bool:
    return (root / FILE).is_file()


def words(text: str) -> list[str]:
    """What is compared of a transcript: its words in lower case, without punctuation."""
    kept = (
        character
        if character == "'" or not unicodedata.category(character).startswith(("P", "S"))
        else " "
        for character in unicodedata.normalize("NFC", text).lower().replace("\u2019", "'")
    )
    return [word for word in "".join(kept).split() if word.strip("'")]


def read(root: Path, limit: int | None, report: Report) -> tuple[list[Recording], list[str]]:
    """The recordings, or the first `limit` of them, and notes of what was left out.

    Every sound file is decoded once, so that a broken one is found before a model is loaded.

    Raises:
        InputError: The folder is in another layout, or more than a few of the files are missing
            or broken.
    """
    file = root / FILE
    if not file.is_file():
        raise InputError(f"{root} holds no {FILE}", LAYOUT)
    skipped = SkipReport()
    named: list[tuple[str, str]] = []
    for number, line in enumerate(read_text(file).split("\n"), 1):
        name, tab, text = line.strip("\r").partition("\t")
        if not line.strip():
            continue
        if number == 1 and tab and not (root / name).suffix and not (root / name).exists():
            skipped.add("it is a header", f"line 1, {name!r}")
        elif not tab:
            skipped.add("it has no tab", f"line {number}")
        elif not words(text):
            skipped.add("no word is said in it", f"line {number}, {name!r}")
        else:
            named.append((name, text))
    recordings = _usable(file, named[:limit], skipped, report)
    notes = skipped.notes("line", FILE)
    if not recordings:
        raise InputError(
            f"{file} names no recording in which a word is said", "; ".join(notes) or LAYOUT
        )
    return recordings, notes


def _usable(
    source: Path, named: list[tuple[str, str]], skipped: SkipReport, report: Report
) -> list[Recording]:
    """Those whose sound file is there and can be decoded."""
    files = FileFinder("sound file", [source.parent])
    there = []
    for name, text in named:
        if file := files.find(name):
            there.append(Recording(file, text))
        else:
            skipped.add("its sound file is missing", repr(name))
    files.raise_for_missing(source, LAYOUT)
    broken: dict[Path, InputError] = {}
    for number, recording in enumerate(there):
        report("opening sound files", number, len(there))
        try:
            read_clip(recording.file)
        except InputError as error:
            broken[recording.file] = error
            skipped.add("its sound file is broken", str(error))
    report("opening sound files", len(there), len(there))
    raise_for_broken_files("sound file", broken, len(there))
    return [recording for recording in there if recording.file not in broken]
