"""The files that data names: which are there, and whether too many are missing or broken."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from mmtrain.data.skipped import count_of
from mmtui.errors import InputError

UNUSABLE_SHARE = 0.01  # of the files that data names: if more are missing or broken, it is refused


class NamedFiles:
    """Looks for the files that data names in some folders, and remembers which are missing.

    `thing` is what a file is, such as "image".
    """

    def __init__(self, thing: str, folders: Sequence[Path]) -> None:
        self._thing, self._folders = thing, folders
        self._found: dict[str, Path | None] = {}

    def find(self, name: str) -> Path | None:
        """The file of that name in the first folder that has it, or None."""
        if name not in self._found:
            places = [folder / name for folder in self._folders] if stays_inside(name) else []
            self._found[name] = next((place for place in places if _is_file(place)), None)
        return self._found[name]

    def require(self, source: Path, hint: str) -> None:
        """Refuse data that lacks more files than an accident explains.

        Raises:
            InputError: More than UNUSABLE_SHARE of the files that `source` names are missing.
        """
        missing = [name for name, place in self._found.items() if place is None]
        if len(missing) <= UNUSABLE_SHARE * len(self._found):
            return
        if not stays_inside(missing[0]):
            hint = f"name each {self._thing} by a path relative to one of these folders, without .."
        raise InputError(
            f"{len(missing):,} of the {count_of(len(self._found), self._thing)} that {source} names"
            f" are missing, such as {missing[0]!r}; searched in"
            f" {', '.join(map(str, self._folders))}",
            hint,
        )


def refuse_many_broken(thing: str, broken: Mapping[Path, InputError], total: int) -> None:
    """Refuse data of which more files are broken than an accident explains.

    `broken` holds why each of them can't be used; `total` is how many files there are.

    Raises:
        InputError: More than UNUSABLE_SHARE of the files are broken.
    """
    if len(broken) > UNUSABLE_SHARE * total:
        reason = next(iter(broken.values()))
        raise InputError(
            f"{len(broken):,} of {count_of(total, thing)} are broken, such as {reason}",
            "`mmtrain data check` on the data lists them",
        )


def stays_inside(name: str) -> bool:
    """Whether a path, as data writes it, leads to a place inside of the folder it begins at."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, say
        return False
