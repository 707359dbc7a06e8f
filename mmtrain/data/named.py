"""The pictures that a data file names: where they are, and whether enough of them are there."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from mmtrain.data.examples import UNUSABLE_SHARE
from mmtrain.data.skipped import count_of
from mmtui.errors import InputError


class NamedPictures:
    """Looks for the pictures of one data file in some folders, and remembers which are missing."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._found: dict[str, Path | None] = {}

    def find(self, name: str) -> Path | None:
        """The file of that name in the first folder that has it, or None."""
        if name not in self._found:
            places = [folder / name for folder in self._folders] if stays_inside(name) else []
            self._found[name] = next((place for place in places if _is_file(place)), None)
        return self._found[name]

    def require(self, file: Path, hint: str) -> None:
        """Refuse data that lacks more pictures than an accident explains.

        Raises:
            InputError: More than UNUSABLE_SHARE of the pictures that `file` names are missing.
        """
        missing = [name for name, place in self._found.items() if place is None]
        if len(missing) <= UNUSABLE_SHARE * len(self._found):
            return
        if not stays_inside(missing[0]):
            hint = "the path of an image must be relative to one of these folders, without '..'"
        raise InputError(
            f"{len(missing):,} of the {count_of(len(self._found), 'image')} that {file} names are"
            f" missing, such as {missing[0]!r}; searched in {', '.join(map(str, self._folders))}",
            hint,
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
