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
    characters = fold(query).replace(" ", "")
    if not characters:
        return [file.path for file in files[:limit]]
    pattern = re.compile(".*?".join(map(re.escape, characters)))

    def rank(file: FoundFile) -> tuple[int, int, int, str] | None:
        match = pattern.search(file.folded)
        if match is None:
            return None
        name = file.folded.rpartition("/")[2]
        span = match.end() - match.start()
        if name.startswith(characters):
            order = 0
        elif characters in name:
            order = 1
        elif characters in file.folded:
            order = 2
        else:
            name_match = pattern.search(name)
            order = 4 if name_match is None else 3
            span = span if name_match is None else name_match.end() - name_match.start()
        return order, span if order > 2 else 0, len(file.path), file.path

    ranked = (found for file in files if (found := rank(file)) is not None)
    return [path for *_, path in nsmallest(limit, ranked)]


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
