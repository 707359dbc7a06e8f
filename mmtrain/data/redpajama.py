"""RedPajama text: JSON lines with "text" and "meta", plain, .gz or .zst."""

import gzip
import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

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


def documents(paths: list[Path], odd: list[str] | None = None) -> Iterator[str]:
    """The texts, one after the other; never a whole file in memory.

    Lines that hold no text are named in `odd`. Raises InputError for a file that can't be read.
    """
    for path in paths:
        try:
            with ExitStack() as stack:
                for number, line in enumerate(_lines(path, stack), 1):
                    text = _text(line)
                    if text is not None:
                        yield text
                    elif odd is not None and line.strip():
                        odd.append(f"{path.name}:{number}")
        except (OSError, EOFError, _zstd_error()) as error:
            raise InputError(f"{path} can't be read: {error}") from error


def _lines(path: Path, stack: ExitStack) -> Iterator[str]:
    file: Any = stack.enter_context(path.open("rb"))
    if path.suffix == ".gz":
        file = stack.enter_context(gzip.GzipFile(fileobj=file))
    elif path.suffix == ".zst":
        import zstandard

        file = stack.enter_context(zstandard.ZstdDecompressor().stream_reader(file))
    return iter(stack.enter_context(io.TextIOWrapper(file, encoding="utf-8", errors="replace")))


def _text(line: str) -> str | None:
    try:
        text = json.loads(line)["text"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return text if isinstance(text, str) and text.strip() else None


def _zstd_error() -> type[Exception]:
    import zstandard

    return zstandard.ZstdError
