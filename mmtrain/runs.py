"""The folder of a run: new, or resumed with the settings that it began with; one at a time."""

import json
import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mmtrain.data.fingerprint import Fingerprint, describe_changes
from mmtui.errors import InputError, UsageError

FILE = "run.json"


def check(out: Path, resume: str | None, settings: dict[str, Any]) -> bool:
    """Whether the run in `out` goes on, rather than begins.

    Raises UsageError for a folder that holds something already, or a run of other settings.
    """
    is_run = (out / FILE).exists()
    if resume not in (None, "auto") and not is_run:
        raise UsageError(f"{out} holds no run", "leave --resume out to begin one")
    if resume is None or not is_run:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            hint = f"go on with --resume {out}, or name another --out"
            raise UsageError(
                f"{out} holds {'a run' if is_run else 'files'} already",
                hint if is_run else "name another --out",
            )
        return False
    compare(out, settings)
    return True


def compare(out: Path, settings: dict[str, Any]) -> None:
    """Raises UsageError if the run in `out` began with other values of these settings."""
    begun = _read(out)
    changed = [
        f"{key} was {begun.get(key)!r}, is {settings.get(key)!r}"
        for key in sorted(settings)
        if begun.get(key) != settings[key]
    ]
    if changed:
        raise UsageError(
            f"the run in {out} began with other settings: {'; '.join(changed[:3])}",
            "a run resumes with what it began with; begin a new one, --out DIR",
        )


def compare_data(out: Path, now: dict[str, Fingerprint]) -> None:
    """Raises UsageError, naming what changed, if the run in `out` began with other data.

    `now` holds a fingerprint for each part of the data, such as "training".
    """
    before = _read(out).get("fingerprint")
    if before is None:  # a run from before fingerprints were kept
        return
    changed = [
        change for part in now for change in describe_changes(part, before.get(part, {}), now[part])
    ]
    if changed:
        raise UsageError(
            f"the data of the run in {out} has changed: {', '.join(changed)}",
            "put the data back as it was, or begin a new run with --out DIR",
        )


def _read(out: Path) -> dict[str, Any]:
    try:
        begun: dict[str, Any] = json.loads((out / FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{out / FILE} is damaged: {error}", "begin a new run, --out DIR"
        ) from error
    return begun


def claim(out: Path, settings: dict[str, Any]) -> FileLock:
    """Make the folder of a run this process's own, as long as it lives and holds the lock.

    Raises UsageError if another process trains there.
    """
    (out / "state").mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / "state" / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(f"another process trains in {out}", "name another --out") from error
    for left in [*out.glob(".new-*"), *out.glob(".language-*"), *out.glob("state/.0*")]:
        shutil.rmtree(left, ignore_errors=True)  # of a run that was killed while it saved
    if not (out / FILE).exists():
        (out / FILE).write_text(json.dumps(settings, indent=2) + "\n")
    return lock
