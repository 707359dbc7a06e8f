"""The folder of a run: new, or resumed with the settings that it began with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmtrain import state
from mmtui.errors import InputError, UsageError

FILE = "run.json"


def resumable(
    out: Path, resume: str | None, settings: dict[str, Any], warn: Callable[[str], None]
) -> tuple[int, Path] | None:
    """The state from which the run in `out` goes on; None for one that begins.

    Raises UsageError for a folder that holds something already, or a run of other settings.
    """
    if resume is None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            is_run = (out / FILE).exists()
            hint = f"go on with --resume {out}, or name another --out"
            raise UsageError(
                f"{out} holds {'a run' if is_run else 'files'} already",
                hint if is_run else "name another --out",
            )
        return None
    if not (out / FILE).exists():
        if resume != "auto":
            raise UsageError(f"{out} holds no run", "leave --resume out to begin one")
        return None
    try:
        begun = json.loads((out / FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{out / FILE} is damaged: {error}", "begin a new run, --out DIR"
        ) from error
    changed = [
        f"{key} was {begun.get(key)!r}, is {settings.get(key)!r}"
        for key in sorted(begun.keys() | settings.keys())
        if begun.get(key) != settings.get(key)
    ]
    if changed:
        raise UsageError(
            f"the run in {out} began with other settings: {'; '.join(changed[:3])}",
            "a run resumes with what it began with; begin a new one, --out DIR",
        )
    return state.newest(out, warn)


def begin(out: Path, settings: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / FILE).write_text(json.dumps(settings, indent=2) + "\n")
