"""Files that are made from weights, such as converted weights: kept in the cache until unused."""

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
UNUSED_S = 30 * 24 * 3600.0  # after which a folder is removed


def ensure_folder(name: str, needed: int, write: Callable[[Path], None]) -> Path:
    """Return a folder of the cache, and have it filled if it is missing or damaged.

    Args:
        name: Of the folder. It must change with all that its content depends on.
        needed: Bytes that must be free on the disk to fill it.
        write: Fills the folder that it is called with. If it fails, nothing is kept.
    """
    target = fetch.get_cache_folder() / "converted" / name
    if _is_intact(target):
        with suppress(OSError):  # a cache that is only read
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
            for path in [*files, work / _MANIFEST]:  # the manifest last: it vouches for the others
                path.replace(target / path.name)
    return target


def hash_files(files: Sequence[Path]) -> str:
    """Return a short hash of the content of all files.

    Raises:
        InputError: One can't be read.
    """
    try:
        digests = [hashes.get(path) for path in files]
    except OSError as error:
        raise InputError(f"{error.filename} can't be read: {error.strerror}") from error
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:12]


def _remove_unused(folder: Path) -> None:
    """Remove what was not used for a month. Each adapter that was ever tried has left a folder."""
    for manifest in folder.glob(f"*/{_MANIFEST}"):
        if time.time() - manifest.stat().st_mtime > UNUSED_S:
            shutil.rmtree(manifest.parent, ignore_errors=True)


def _is_intact(target: Path) -> bool:
    try:
        pins = [Pin(**pin) for pin in json.loads((target / _MANIFEST).read_bytes())]
    except (OSError, ValueError, TypeError):
        return False
    return bool(pins) and all(fetch.is_intact(target / pin.name, pin) for pin in pins)
