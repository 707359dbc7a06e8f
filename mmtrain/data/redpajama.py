"""RedPajama text: JSON lines with "text" and "meta", plain, .gz or .zst.

Format and data: https://huggingface.co/datasets/togethercomputer/RedPajama-Data-1T
"""

import json
from collections.abc import Iterator
from pathlib import Path

from mmtrain.data.compressed import open_text
from mmtrain.data.skip_report import SkipReport
from mmtui.errors import InputError

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst")


def find_files(path: Path) -> list[Path]:
    """Return the text files that a file, a folder or a glob pattern names, sorted.

    Raises:
        InputError: There is none.
    """
    if path.is_file():
        return [path]
    if path.is_dir():
        paths = path.rglob("*")
    else:
        paths = Path(path.anchor or ".").glob(str(path.relative_to(path.anchor)))
    found = sorted(file for file in paths if file.is_file() and file.name.endswith(SUFFIXES))
    if not found:
        raise InputError(
            f"{path} names no text files",
            "text is .jsonl, .jsonl.gz or .jsonl.zst, as RedPajama has it",
        )
    return found


def iter_documents(paths: list[Path], skipped: SkipReport | None = None) -> Iterator[str]:
    """Yield the texts of files one after the other; files are streamed.

    Lines without text are counted in `skipped`.

    Raises:
        InputError: A file can't be read, is damaged, or is cut off.
    """
    for path in paths:
        with open_text(path) as lines:
            for number, line in enumerate(lines, 1):
                try:
                    # Files that were joined have byte order marks inside.
                    yield _parse(line.removeprefix("\ufeff"))
                except _LineError as error:
                    if skipped is not None and line.strip():
                        skipped.add(str(error), f"{path.name}:{number}")


class _LineError(Exception):
    """A line without text; its message is the reason."""


def _parse(line: str) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _LineError("not JSON") from error
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise _LineError('no "text"')
    if not text.strip():
        raise _LineError('an empty "text"')
    return text.encode(errors="replace").decode()  # replaces lone surrogates, which JSON allows
