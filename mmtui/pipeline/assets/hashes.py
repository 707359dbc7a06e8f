"""SHA-256 hashes of files, cached until a file changes.

The store is only a cache: if it is damaged, locked or read-only, hashes are computed again.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from platformdirs import user_cache_path

_TIMEOUT_S = 10.0  # for the lock of another process


def compute(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: The file can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def get(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, from the cache if the file has not changed.

    Raises:
        OSError: The file can't be read.
    """
    stamps = {path: get_stamp(path)}
    if path in (cached := _find_hashes(stamps)):
        return cached[path]
    sha256 = compute(path)
    _store_hashes({path: sha256}, stamps)
    return sha256


def get_many(paths: Sequence[Path]) -> dict[Path, str]:
    """Return the SHA-256 of many files by path; hash new and changed files in parallel.

    Files that can't be read are left out.
    """
    with ThreadPoolExecutor() as pool:
        stamps = dict(zip(paths, pool.map(get_stamp, paths), strict=True))
        hashes = _find_hashes(stamps)
        unknown = [path for path, stamp in stamps.items() if stamp and path not in hashes]
        computed = dict(zip(unknown, pool.map(_compute, unknown), strict=True))
    new = {path: sha256 for path, sha256 in computed.items() if sha256 is not None}
    _store_hashes(new, stamps)
    return hashes | new


def fingerprint(text: str, paths: Iterable[Path]) -> str:
    """Return a hash of a text and of the names, sizes and times of files, which are not read.

    Args:
        text: Any text.
        paths: Files, and folders whose files are meant.
    """
    digest = hashlib.sha256(text.encode())
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            digest.update(os.fsencode(f"{file} {get_stamp(file)}\n"))
    return digest.hexdigest()


def get_stamp(path: Path) -> str | None:
    """Return the size and times of a file, which change with its content; None if it is missing."""
    try:
        stat = path.stat()
    except OSError:
        return None
    # Tools that restore the modification time, such as rsync, can't restore the change time.
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"


def _compute(path: Path) -> str | None:
    """Compute the hash of a file; return None if it can't be read."""
    try:
        return compute(path)
    except OSError:
        return None


def _find_hashes(stamps: dict[Path, str | None]) -> dict[Path, str]:
    """Return the cached hashes of the files whose stamps have not changed."""
    query = "SELECT sha256 FROM files WHERE path = ? AND stamp = ?"
    found = {}
    with _suppress_errors(), _open_store() as store:
        for path, stamp in stamps.items():
            if row := store.execute(query, (_key(path), stamp)).fetchone():
                found[path] = str(row[0])
    return found


def _store_hashes(hashes: dict[Path, str], stamps: dict[Path, str | None]) -> None:
    """Add hashes to the store."""
    if not hashes:
        return
    rows = [(_key(path), stamps[path], sha256) for path, sha256 in hashes.items()]
    with _suppress_errors(), _open_store() as store:
        store.execute("CREATE TABLE IF NOT EXISTS files (path PRIMARY KEY, stamp, sha256)")
        store.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", rows)
        store.commit()


def _key(path: Path) -> bytes:
    return os.fsencode(path.absolute())


def _get_store_path() -> Path:
    return user_cache_path("mmtui") / "features" / "files.sqlite"


@contextmanager
def _open_store() -> Iterator[sqlite3.Connection]:
    path = _get_store_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    store = sqlite3.connect(path, timeout=_TIMEOUT_S)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _suppress_errors() -> Iterator[None]:
    """Ignore errors of the store, and remove it if it is damaged."""
    try:
        yield
    except (sqlite3.OperationalError, OSError):  # no table yet, locked, read-only, disk full
        return
    except sqlite3.DatabaseError:
        with suppress(OSError):
            _get_store_path().unlink()
