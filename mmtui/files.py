"""Files that are replaced as a whole: whoever reads one finds the old bytes or the new ones."""

import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
        raise InputError(f"{path} is {describe_kind(mode)}", "name an ordinary file")


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
