"""RedPajama text: JSON lines with "text" and "meta", plain, .gz or .zst."""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
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


@dataclass
class Odd:
    """Lines that hold no text: how many, and the first of them."""

    count: int = 0
    first: str = ""


def documents(paths: list[Path], odd: Odd | None = None) -> Iterator[str]:
    """The texts, one after the other; never a whole file in memory.

    Lines that hold no text are counted in `odd`. Raises InputError for a file that can't be read.
    """
    for path in paths:
        try:
            with ExitStack() as stack:
                for number, line in enumerate(_lines(path, stack), 1):
                    text = _text(line)
                    if text is not None:
                        yield text
                    elif odd is not None and line.strip():
                        odd.count += 1
                        odd.first = odd.first or f"{path.name}:{number}"
        except (OSError, EOFError, zlib.error, _zstd_error()) as error:
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
    if not isinstance(text, str) or not text.strip():
        return None
    return text.encode(errors="replace").decode()  # no lone surrogates, which JSON allows


def _zstd_error() -> type[Exception]:
    import zstandard

    return zstandard.ZstdError
