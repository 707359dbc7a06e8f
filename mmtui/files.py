"""Reading text and JSON as other programs write them, and replacing files as a whole."""

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


def refuse_special(path: Path) -> None:
    """Refuse to write over anything but a regular file: a device, a pipe, a folder or a link.

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
    """Refuse a path that `replacing` can't write, before what is written there is computed.

    Raises:
        InputError: `path` is no regular file, or its folder is missing or can't be written.
    """
    refuse_special(path)
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is not a folder", "make it first, or name another file")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path.parent} can't be written to", "name another file")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` when the block ends.

    If the block raises, `path` is left as it was and the temporary file is removed. A file that
    is replaced keeps its mode.

    Raises:
        InputError: `path` exists and is not a regular file.
        OSError: The folder can't be written.
    """
    refuse_special(path)
    aside = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(4)}{path.suffix}")
    aside.touch(exist_ok=False)
    try:
        with suppress(FileNotFoundError):
            aside.chmod(stat.S_IMODE(path.stat().st_mode))
        yield aside
        refuse_special(path)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def describe_kind(mode: int) -> str:
    """What a file that is not a regular one is, for an error message; `mode` as in `os.stat`."""
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"


def encoding_of(head: bytes) -> str:
    """Return the encoding that the first four bytes of a text name, by default UTF-8."""
    return find_byte_order_mark(head) or "utf-8-sig"


def read_text(path: Path) -> str:
    """The text of a file, with or without a byte order mark.

    Raises:
        InputError: The file can't be read, or is neither UTF-8 nor marked as UTF-16 or UTF-32.
    """
    try:
        data = path.read_bytes()
        return data.decode(encoding_of(data))
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text: byte {error.start:,} is wrong", "save it as UTF-8"
        ) from error


def read_json(path: Path) -> Any:
    """The value in a JSON file, with or without a byte order mark.

    Raises:
        InputError: The file can't be read, is empty or cut off, or is not JSON.
    """
    text = read_text(path)
    if not text.strip():
        raise InputError(f"{path} is empty")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()):
            raise InputError(f"{path} is cut off: it ends in the middle of its JSON") from error
        where = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{path} can't be read as JSON: {error.msg} at {where}") from error
    except (ValueError, RecursionError) as error:  # a number or a nesting that is too long
        raise InputError(f"{path} can't be read as JSON: {error}") from error


@contextmanager
def without_byte_order_marks(folder: Path) -> Iterator[Path]:
    """Give a folder whose JSON files begin without a byte order mark, which many libraries refuse.

    That is `folder` itself, or, if one of its JSON files has a mark, a temporary folder with links
    to the other files. The temporary folder is removed when the block ends.

    Raises:
        InputError: A marked file is not text in the encoding that its mark names.
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
