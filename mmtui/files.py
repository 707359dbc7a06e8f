"""Reading text and JSON in any Unicode encoding, replacing files atomically, and their sizes."""

import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmtui.encodings import find_byte_order_mark
from mmtui.errors import InputError

_COPY_HINT = "copy or download it again"


def refuse_special(path: Path) -> None:
    """Raise an error if a path is a device, a pipe, a folder or a link, which must not be replaced.

    Raises:
        InputError: `path` exists and is not a regular file.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise InputError(f"{path} is {describe_kind(mode)}", "pass a regular file")


def check_destination(path: Path) -> None:
    """Raise an error if `replacing` could not write a path.

    Call it before a long computation whose result is written there.

    Raises:
        InputError: `path` is not a regular file, or its folder is missing or read-only.
    """
    refuse_special(path)
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is not a folder", "create it, or choose another file")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path.parent} can't be written to", "choose another file")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replace a file atomically: the temporary file is renamed when the block ends.

    If the block raises, `path` is not changed and the temporary file is removed. A file that is
    replaced keeps its mode.

    Yields:
        The path of the temporary file, in the same folder, with the same suffix.

    Raises:
        InputError: `path` exists and is not a regular file.
        OSError: The folder can't be written.
    """
    refuse_special(path)
    temporary = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(4)}{path.suffix}")
    temporary.touch(exist_ok=False)
    try:
        with suppress(FileNotFoundError):
            temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        yield temporary
        refuse_special(path)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def measure_folder(folder: Path) -> int:
    """Return the size of all files in a folder in bytes.

    Another process may write to the folder meanwhile.
    """
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(parent, name).stat().st_size
            except FileNotFoundError:
                continue  # another process has moved it
    return total


def describe_kind(mode: int) -> str:
    """Return what a special file is, for an error message; `mode` is that of `os.stat`."""
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"


def find_encoding(head: bytes) -> str:
    """Return the encoding of the byte order mark in the first four bytes; by default UTF-8."""
    return find_byte_order_mark(head) or "utf-8-sig"


def read_text(path: Path) -> str:
    """Return the text of a file, with or without a byte order mark.

    Raises:
        InputError: The file can't be read, or is neither UTF-8 nor marked as UTF-16 or UTF-32.
    """
    try:
        data = path.read_bytes()
        return data.decode(find_encoding(data))
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text: byte {error.start:,} is wrong", "save it as UTF-8"
        ) from error


def read_json(path: Path) -> Any:
    """Return the value in a JSON file, with or without a byte order mark.

    Raises:
        InputError: The file can't be read, is empty or cut off, or is not JSON.
    """
    text = read_text(path)
    if not text.strip():
        raise InputError(f"{path} is empty", _COPY_HINT)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()):
            raise InputError(
                f"{path} is cut off: it ends in the middle of its JSON", _COPY_HINT
            ) from error
        where = f"line {error.lineno}, column {error.colno}"
        raise InputError(
            f"{path} can't be read as JSON: {error.msg} at {where}", "correct that line"
        ) from error
    except (ValueError, RecursionError) as error:  # too long a number, too deep a nesting
        raise InputError(f"{path} can't be read as JSON: {error}") from error


def read_optional_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file; return an empty one if the file does not exist.

    Raises:
        InputError: The file is damaged, or its content is no object.
    """
    if not path.exists():
        return {}
    try:
        content = read_json(path)
    except InputError as error:
        raise InputError(f"{path} is damaged", "fetch it again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged", "fetch it again")
    return content


@contextmanager
def without_byte_order_marks(folder: Path) -> Iterator[Path]:
    """Make JSON files with a byte order mark readable for libraries that refuse the mark.

    Yields:
        `folder`, if none of its JSON files has a mark. Otherwise a temporary folder with copies of
        them without the mark, and links to the other files. It is removed when the block ends.

    Raises:
        InputError: A file is not text in the encoding of its mark.
        OSError: The folder can't be read.
    """
    marked = {path for path in folder.glob("*.json") if _has_byte_order_mark(path)}
    if not marked:
        yield folder
        return
    with TemporaryDirectory() as name:
        for path in folder.iterdir():
            copy = Path(name) / path.name
            if path in marked:
                copy.write_text(read_text(path), encoding="utf-8")
            else:
                copy.symlink_to(path.absolute())
        yield Path(name)


def _has_byte_order_mark(path: Path) -> bool:
    with path.open("rb") as file:
        return find_byte_order_mark(file.read(4)) is not None
