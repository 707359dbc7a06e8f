"""Find files below a folder by parts of their names."""

import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import nsmallest
from pathlib import Path
from typing import NamedTuple

from mmtui.chat.history.search import fold
from mmtui.text import one_line

MAX_FILES = 100_000
MAX_ENTRIES = 500_000  # files and folders that are looked at
SKIPPED = {"__pycache__", "node_modules"}  # beside everything that is hidden


class FoundFile(NamedTuple):
    """A file.

    Attributes:
        path: Its path, relative to the folder that was searched, with slashes.
        folded: The path as searches compare it.
    """

    path: str
    folded: str


def walk_files(
    folder: Path, suffixes: set[str], is_cancelled: Callable[[], bool]
) -> Iterator[FoundFile]:
    """Yield the files below a folder, those in the nearest folders first.

    Hidden files and folders, `__pycache__` and `node_modules` are skipped, and so are names with
    control characters. Links to folders are not followed, so that links in a circle do no harm.

    Args:
        folder: The folder to search.
        suffixes: The suffixes of the files, in lower case.
        is_cancelled: Ends the search when it returns true.
    """
    folders = deque([""])
    files = entries = 0
    while folders and entries < MAX_ENTRIES and not is_cancelled():
        parent = folders.popleft()
        for entry in _list_entries(folder / parent):
            entries += 1
            path = f"{parent}{entry.name}"
            if _is_folder(entry):
                folders.append(f"{path}/")
            elif os.path.splitext(entry.name)[1].lower() in suffixes and _is_file(entry):  # noqa: PTH122
                yield FoundFile(path, fold(path))
                files += 1
                if files == MAX_FILES:
                    return


def rank_files(files: Sequence[FoundFile], query: str, limit: int) -> list[str]:
    """Return the paths of the files that match a query, the best match first.

    A file matches if its path has the characters of the query in their order. Names that start
    with the query come first, then names and paths that contain it.
    """
    if not (characters := _fold_query(query)):
        return [file.path for file in files[:limit]]
    return _rank(_match(files, characters), characters, limit)


class FileRanking:
    """Ranks files for a query that grows while it is typed.

    What matches a query is searched among what matched its beginning. Thread-safe.
    """

    def __init__(self) -> None:
        self._last: tuple[str, int, list[FoundFile]] = ("", 0, [])

    def rank(self, files: Sequence[FoundFile], query: str, limit: int) -> list[str]:
        """Return what `rank_files` does. `files` may have grown since the last call."""
        if not (characters := _fold_query(query)):
            return [file.path for file in files[:limit]]
        before, count, matches = self._last
        if not (before and characters.startswith(before) and count == len(files)):
            matches = list(files)
        matches = _match(matches, characters)
        self._last = characters, len(files), matches
        return _rank(matches, characters, limit)


def _fold_query(query: str) -> str:
    return fold(query).replace(" ", "")


def _make_pattern(characters: str) -> re.Pattern[str]:
    """Return a pattern of characters in their order, with anything between them.

    It does not backtrack, which takes very long for names with many equal characters.
    """
    first, *others = map(re.escape, characters)
    return re.compile(first + "".join(f"[^{each}]*+{each}" for each in others))


def _match(files: Sequence[FoundFile], characters: str) -> list[FoundFile]:
    search = _make_pattern(characters).search
    return [file for file in files if search(file.folded)]


def _rank(matches: Sequence[FoundFile], characters: str, limit: int) -> list[str]:
    """Return the paths of the best of the files that match."""
    pattern = _make_pattern(characters)

    def rank(file: FoundFile) -> tuple[int, int, int, str]:
        path = file.folded
        name = path.rpartition("/")[2]
        if name.startswith(characters):
            order, span = 0, 0
        elif characters in name:
            order, span = 1, 0
        elif characters in path:
            order, span = 2, 0
        else:
            in_name = pattern.search(name)
            match = in_name or pattern.search(path)
            order = 3 if in_name else 4
            span = match.end() - match.start() if match else 0
        return order, span, len(file.path), file.path

    return [file.path for file in nsmallest(limit, matches, rank)]


def _list_entries(folder: Path) -> list["os.DirEntry[str]"]:
    """Return the entries of a folder that are not skipped; none if it can't be read."""
    try:
        with os.scandir(folder) as found:
            entries = [
                entry
                for entry in found
                if not entry.name.startswith(".")
                and entry.name not in SKIPPED
                and one_line(entry.name) == entry.name
            ]
    except OSError:
        return []
    return sorted(entries, key=lambda entry: entry.name)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False
