"""The folder of a run: new, or resumed with the options that it began with; one at a time."""

import json
import shutil
from collections.abc import Set
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from mmtrain.data.fingerprint import Fingerprint, describe_changes
from mmtrain.options import CHANGEABLE, RunOptions, flag
from mmtui.errors import InputError, UsageError
from mmtui.files import read_json, replacing

FILE = "run.json"
Options = TypeVar("Options", bound=RunOptions)


def find(out: Path, resume: str | None) -> dict[str, Any] | None:
    """The record of the run in `out` if it is to go on; None if a new one begins there.

    Raises:
        UsageError: The folder holds something and is not to be resumed, or holds no run.
        InputError: The record is damaged.
    """
    is_run = (out / FILE).exists()
    if resume not in (None, "auto") and not is_run:
        raise UsageError(f"{out} holds no run", "leave --resume out to begin one")
    if resume is not None and is_run:
        return _read(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        hint = f"go on with --resume {out}, or name another --out"
        raise UsageError(
            f"{out} holds {'a run' if is_run else 'files'} already",
            hint if is_run else "name another --out",
        )
    return None


def resume_options(out: Path, record: dict[str, Any], options: Options, typed: Set[str]) -> Options:
    """The options that a run began with, and of those that were `typed` what may change.

    Raises:
        UsageError: The run is of another stage, or a typed option would change what it trains.
        InputError: The record is damaged.
    """
    from pydantic import TypeAdapter, ValidationError

    if record.get("stage") != options.stage:
        raise UsageError(
            f"the run in {out} is one of {record.get('stage')}, not {options.stage}",
            "name another --out",
        )
    begun = record.get("options")
    if not isinstance(begun, dict):
        raise UsageError(
            f"{out / FILE} does not say with which options the run began: it is of an earlier"
            " version",
            "begin a new run, --out DIR",
        )
    given = {name: value for name, value in to_json(options).items() if name in typed}
    changed = [
        f"{flag(name)} was {_shown(begun.get(name))}, is {_shown(value)}"
        for name, value in given.items()
        if name not in CHANGEABLE and value not in (begun.get(name), "auto")
    ]
    if changed:
        raise UsageError(
            f"the run in {out} began with other options: {'; '.join(changed)}",
            "leave them out, for a run keeps what it began with; or begin a new one, --out DIR",
        )
    kept = {name: value for name, value in given.items() if name in CHANGEABLE}
    try:
        merged: Options = TypeAdapter(type(options)).validate_python(begun | kept)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{out / FILE} is damaged: {where}: {first['msg']}", "begin a new run, --out DIR"
        ) from error
    return merged


def compare_start(out: Path, record: dict[str, Any], now: dict[str, Any]) -> None:
    """Check that a resumed run begins with the processes and the weights that it began with.

    Raises:
        UsageError: They differ between `record`, of the run in `out`, and `now`.
    """
    if record.get("processes") != now["processes"]:
        raise UsageError(
            f"the run in {out} began with {record.get('processes')} processes, not"
            f" {now['processes']}",
            "launch as many as then, or begin a new run, --out DIR",
        )
    if record.get("checkpoint_sha256") != now["checkpoint_sha256"]:
        raise UsageError(
            f"{now['options']['model']} is not the model that the run in {out} began from",
            "name where that one lies with --model, or begin a new run, --out DIR",
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


def claim(out: Path) -> FileLock:
    """Make the folder of a run this process's own, as long as it lives and holds the lock.

    Raises:
        UsageError: Another process trains there.
    """
    (out / "state").mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / "state" / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(f"another process trains in {out}", "name another --out") from error
    for left in [*out.glob(".new-*"), *out.glob(".language-*"), *out.glob("state/.0*")]:
        shutil.rmtree(left, ignore_errors=True)  # of a run that was killed while it saved
    return lock


def write(out: Path, record: dict[str, Any]) -> None:
    with replacing(out / FILE) as aside:
        aside.write_text(json.dumps(record, indent=2) + "\n")


def to_json(options: RunOptions) -> dict[str, Any]:
    """The options as run.json holds them, with absolute paths: a run may go on from elsewhere."""
    return {name: _plain(value) for name, value in asdict(options).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.absolute())
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _read(out: Path) -> dict[str, Any]:
    record = read_json(out / FILE)
    if not isinstance(record, dict):
        raise InputError(f"{out / FILE} is damaged", "begin a new run, --out DIR")
    return record
