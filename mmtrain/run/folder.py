"""The folder of a run and its run.json, from which the run is resumed or repeated."""

import json
import shutil
from collections.abc import Set
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from mmtrain.data.fingerprint import Fingerprint, describe_changes
from mmtrain.options import CHANGEABLE_ON_RESUME, RunOptions, StageName, StartOptions, get_flag
from mmtui.errors import InputError, UsageError
from mmtui.files import read_json, replacing
from mmtui.paths import resolve

RECORD = "run.json"
Options = TypeVar("Options", bound=RunOptions)


def locate(stage: StageName, start: StartOptions) -> Path:
    """Return the folder of a run: that of --resume, else --out, else runs/STAGE.

    Raises:
        UsageError: --resume contradicts --out or --config.
    """
    if start.resume is not None and start.config is not None:
        raise UsageError(
            "--config starts a new run, and --resume continues one", "leave one of the two out"
        )
    if start.resume in (None, "auto"):
        return start.out or Path("runs") / stage
    resumed = resolve(start.resume)
    if start.out not in (None, resumed):
        raise UsageError("--resume DIR and --out name different folders", "leave --out out")
    return resumed


def find_record(out: Path, resume: str | None) -> dict[str, Any] | None:
    """Return run.json of the run to resume, or None if a new run starts in `out`.

    Raises:
        UsageError: The folder is in use and not to be resumed, or there is no run to resume.
        InputError: run.json is damaged.
    """
    is_run = (out / RECORD).exists()
    if resume not in (None, "auto") and not is_run:
        raise UsageError(f"{out} contains no run", "leave --resume out to start one")
    if resume is not None and is_run:
        return read_record(out / RECORD)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if is_run:
            raise UsageError(
                f"{out} already contains a run",
                f"continue it with --resume {out}, or choose another --out",
            )
        raise UsageError(f"{out} already contains files", "choose another --out")
    return None


def read_record(file: Path) -> dict[str, Any]:
    """Read a run.json, with or without a byte order mark.

    Raises:
        InputError: The file can't be read, or has no stage or no options.
    """
    record = read_json(file)
    if not isinstance(record, dict):
        raise InputError(f"{file} is not the run.json of a run: it is not a JSON object")
    for key, kind in (("stage", str), ("options", dict)):
        if not isinstance(record.get(key), kind):
            raise InputError(
                f"{file} has no {key}: it is damaged, or of a version before run.json had them",
                "start a new run without this file",
            )
    return record


def write_record(out: Path, record: dict[str, Any]) -> None:
    """Write run.json into the folder of a run, replacing it in one step."""
    with replacing(out / RECORD) as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n")


def load_options(file: Path, options: Options, explicit: Set[str]) -> Options:
    """Return the options in a run.json, overridden by those of the command line.

    Args:
        file: The run.json of another run.
        options: The options of the command line.
        explicit: The names of those that were given on it and are not defaults.

    Raises:
        UsageError: The run is of another stage.
        InputError: The file is unusable; the message names the key.
    """
    record = read_record(file)
    if record["stage"] != options.stage:
        raise UsageError(
            f"{file} has the options of {record['stage']}, not of {options.stage}",
            f"mmtrain {record['stage']} --config {file}",
        )
    return _override(file, record["options"], options, explicit)


def resume_options(
    out: Path, record: dict[str, Any], options: Options, explicit: Set[str]
) -> Options:
    """Return the options of the run to resume, overridden by those that may change.

    Args:
        out: The folder of the run.
        record: Its run.json.
        options: The options of the command line.
        explicit: The names of those that were given on it and are not defaults.

    Raises:
        UsageError: The run is of another stage, or an explicit option would change what is trained.
        InputError: run.json is damaged.
    """
    if record["stage"] != options.stage:
        raise UsageError(
            f"the run in {out} is a run of {record['stage']}, not of {options.stage}",
            "choose another --out",
        )
    stored = record["options"]
    changes = [
        f"{get_flag(name)} was {_format(stored.get(name))}, is {_format(value)}"
        for name, value in options_to_json(options).items()
        if name in explicit
        and name not in CHANGEABLE_ON_RESUME
        and value not in (stored.get(name), "auto")
    ]
    if changes:
        raise UsageError(
            f"the run in {out} was started with other options: {'; '.join(changes)}",
            "leave them out to resume the run, or start a new one with another --out",
        )
    return _override(out / RECORD, stored, options, explicit & CHANGEABLE_ON_RESUME)


def _override(file: Path, stored: dict[str, Any], options: Options, explicit: Set[str]) -> Options:
    """Validate stored options, after those named in `explicit` have been overridden."""
    from pydantic import TypeAdapter, ValidationError

    overrides = {name: v for name, v in options_to_json(options).items() if name in explicit}
    try:
        merged: Options = TypeAdapter(type(options)).validate_json(
            json.dumps(stored | overrides), strict=True
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        is_unknown = first["type"] == "unexpected_keyword_argument"
        problem = "there is no such option" if is_unknown else first["msg"]
        raise InputError(
            f"{file}: {key}: {problem}", f"mmtrain {options.stage} --help lists the options"
        ) from error
    return merged


def check_same_start(out: Path, record: dict[str, Any], current: dict[str, Any]) -> None:
    """Check that a run is resumed with the processes and the weights that it was started with.

    Args:
        out: The folder of the run.
        record: Its run.json.
        current: The same keys for this start.

    Raises:
        UsageError: They differ.
    """
    if record.get("processes") != current["processes"]:
        raise UsageError(
            f"the run in {out} was started with {record.get('processes')} processes, not"
            f" {current['processes']}",
            f"launch {record.get('processes')} processes, or start a new run with another --out",
        )
    if record.get("checkpoint_sha256") != current["checkpoint_sha256"]:
        raise UsageError(
            f"{current['options']['model']} is not the model that the run in {out} started from",
            "pass that model with --model, or start a new run with another --out",
        )


def check_same_data(out: Path, record: dict[str, Any], current: dict[str, Fingerprint]) -> None:
    """Check that a run is resumed with the data that it was started with.

    Args:
        out: The folder of the run.
        record: Its run.json.
        current: The fingerprint of each part of the data, such as "training".

    Raises:
        UsageError: The data differ; the message names what changed.
    """
    before = record.get("fingerprint")
    if before is None:  # a run from before fingerprints were recorded
        return
    changes = [
        change
        for part in current
        for change in describe_changes(part, before.get(part, {}), current[part])
    ]
    if changes:
        raise UsageError(
            f"the data of the run in {out} has changed: {', '.join(changes)}",
            "restore the data, or start a new run with another --out",
        )


def lock(out: Path) -> FileLock:
    """Lock the folder of a run for this process, and remove what a killed run left behind.

    Returns:
        The lock; the folder stays locked until it is released or the process ends.

    Raises:
        UsageError: Another process trains there.
    """
    (out / "state").mkdir(parents=True, exist_ok=True)
    file_lock = FileLock(out / "state" / ".lock")
    try:
        file_lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(f"another process trains in {out}", "choose another --out") from error
    for partial in [*out.glob(".new-*"), *out.glob(".language-*"), *out.glob("state/.0*")]:
        shutil.rmtree(partial, ignore_errors=True)
    return file_lock


def options_to_json(options: RunOptions) -> dict[str, Any]:
    """Return options as run.json stores them.

    Paths become absolute, so that a run can be resumed from another working directory.
    """
    return {name: _to_json(value) for name, value in asdict(options).items()}


def _to_json(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.absolute())
    return [_to_json(item) for item in value] if isinstance(value, list) else value


def _format(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
