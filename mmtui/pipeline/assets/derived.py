"""Files that are derived from weights, such as converted weights, in the cache."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from mmtui.errors import InputError
from mmtui.pipeline.assets import fetch, hashes
from mmtui.pipeline.assets.spec import Pin

_MANIFEST = "manifest.json"
MAX_UNUSED_S = 30 * 24 * 3600.0  # folders that were not used for longer are removed


def ensure_folder(name: str, needed: int, write: Callable[[Path], None]) -> Path:
    """Return a folder in the cache; write it if it is missing or damaged.

    Args:
        name: The name of the folder, which must depend on everything that determines its content.
        needed: Disk space that writing the folder takes, in bytes.
        write: Writes the files to the folder that it is called with. If it raises an exception,
            the cache does not change.

    Raises:
        MmtuiError: The disk is full.
        MissingError: The cache can't be written.
    """
    target = fetch.get_cache_folder() / "converted" / name
    if _is_intact(target):
        with suppress(OSError):  # the cache is read-only
            (target / _MANIFEST).touch()
        return target
    _remove_unused(target.parent)
    with fetch.workspace(name, needed=needed) as work:
        if not _is_intact(target):
            write(work)
            files = [path for path in sorted(work.iterdir()) if path.is_file()]
            pins = [Pin(path.name, path.stat().st_size, hashes.compute(path)) for path in files]
            (work / _MANIFEST).write_text(json.dumps([vars(pin) for pin in pins]))
            target.mkdir(parents=True, exist_ok=True)
            for path in [*files, work / _MANIFEST]:  # the manifest marks the folder as complete
                path.replace(target / path.name)
    return target


def hash_files(files: Sequence[Path]) -> str:
    """Return a hash of the contents of files, 12 hexadecimal digits.

    Raises:
        InputError: A file can't be read.
    """
    try:
        digests = [hashes.get(path) for path in files]
    except OSError as error:
        raise InputError(f"{error.filename} can't be read: {error.strerror}") from error
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:12]


def _remove_unused(folder: Path) -> None:
    """Remove folders that were not used for a month, such as those of earlier adapters."""
    for manifest in folder.glob(f"*/{_MANIFEST}"):
        if time.time() - manifest.stat().st_mtime > MAX_UNUSED_S:
            shutil.rmtree(manifest.parent, ignore_errors=True)


def _is_intact(target: Path) -> bool:
    """Return whether a folder has all files of its manifest, undamaged."""
    try:
        pins = [Pin(**pin) for pin in json.loads((target / _MANIFEST).read_bytes())]
    except (OSError, ValueError, TypeError):
        return False
    return bool(pins) and all(fetch.is_intact(target / pin.name, pin) for pin in pins)
