"""Images and sound files that data refers to by name, and how many of them may be unusable."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from mmtrain.data.skip_report import format_count
from mmtui.errors import InputError

MAX_UNUSABLE_SHARE = 0.01  # of the referenced files; data with more missing or broken is refused


class FileFinder:
    """Finds the files that data refers to, and remembers which are missing.

    Args:
        noun: What a file is, in the singular, such as "image".
        folders: Where files are searched for, in this order.
    """

    def __init__(self, noun: str, folders: Sequence[Path]) -> None:
        self._noun, self._folders = noun, folders
        self._found: dict[str, Path | None] = {}

    def find(self, name: str) -> Path | None:
        """Return the file of that name in the first folder that has it, or None."""
        if name not in self._found:
            paths = [folder / name for folder in self._folders] if is_inside(name) else []
            self._found[name] = next((path for path in paths if _is_file(path)), None)
        return self._found[name]

    def raise_for_missing(self, source: Path, hint: str) -> None:
        """Refuse data of which too many files were not found.

        Args:
            source: The file that refers to them, for the message.
            hint: How to cure it.

        Raises:
            InputError: More than MAX_UNUSABLE_SHARE of the files are missing.
        """
        missing = [name for name, path in self._found.items() if path is None]
        if len(missing) <= MAX_UNUSABLE_SHARE * len(self._found):
            return
        if not is_inside(missing[0]):
            hint = f"name each {self._noun} by a path relative to one of these folders, without .."
        raise InputError(
            f"{len(missing):,} of the {format_count(len(self._found), self._noun)} that {source}"
            f" names are missing, such as {missing[0]!r}; searched in"
            f" {', '.join(map(str, self._folders))}",
            hint,
        )


def raise_for_broken_files(noun: str, broken: Mapping[Path, InputError], total: int) -> None:
    """Refuse data of which too many files are broken.

    Args:
        noun: What a file is, in the singular, such as "image".
        broken: Why each broken file can't be used.
        total: Number of all files.

    Raises:
        InputError: More than MAX_UNUSABLE_SHARE of the files are broken.
    """
    if len(broken) > MAX_UNUSABLE_SHARE * total:
        reason = next(iter(broken.values()))
        raise InputError(
            f"{len(broken):,} of {format_count(total, noun)} are broken, such as {reason}",
            "`mmtrain data check` on the data lists them",
        )


def is_inside(name: str) -> bool:
    """Return whether a relative POSIX path stays inside of the folder that it starts from."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name is too long, for example
        return False
