"""RedPajama text: JSON lines with "text" and "meta", plain, .gz or .zst."""

import json
from collections.abc import Iterator
from pathlib import Path

from mmtrain.data.compressed import open_text
from mmtrain.data.skipped import Skipped
from mmtui.errors import InputError

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst")


def files(path: Path) -> list[Path]:
    """The files that a file, a folder or a pattern names. Raises InputError if there is none."""
    if path.is_file():
        return [path]
    pattern = (
        path.rglob("*")
        if path.is_dir()
        else Path(path.anchor or ".").glob(str(path.relative_to(path.anchor)))
    )
    found = sorted(file for file in pattern if file.is_file() and file.name.endswith(SUFFIXES))
    if not found:
        raise InputError(
            f"{path} names no text", "text is .jsonl, .jsonl.gz or .jsonl.zst, as RedPajama has it"
        )
    return found


def documents(paths: list[Path], skipped: Skipped | None = None) -> Iterator[str]:
    """The texts, one after the other; never a whole file in memory.

    Lines that hold no text are counted in `skipped`.

    Raises:
        InputError: A file can't be read, is damaged, or is cut off.
    """
    for path in paths:
        with open_text(path) as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield _text(line.removeprefix("\ufeff"))  # of files that were joined
                except _NoTextError as error:
                    if skipped is not None and line.strip():
                        skipped.add(str(error), f"{path.name}:{number}")


class _NoTextError(Exception):
    """A line without text, and why."""


def _text(line: str) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _NoTextError("not JSON") from error
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise _NoTextError('no "text"')
    if not text.strip():
        raise _NoTextError('an empty "text"')
    return text.encode(errors="replace").decode()  # no lone surrogates, which JSON allows
