"""The state of a run: written aside and renamed, sealed with hashes, the last few kept."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from mmtui.pipeline.assets import fetch

KEPT = 2
NEARLY_FULL = 1 << 20
SEAL = "seal.json"


def aside(out: Path, step: int) -> Path:
    """Where a state is written, by all processes, before it is sealed by one."""
    return out / "state" / f".{step:08}"


def begin(out: Path, step: int) -> None:
    discard(out, step)
    aside(out, step).mkdir(parents=True)


def discard(out: Path, step: int) -> None:
    """Give the room of a state that could not be saved back."""
    shutil.rmtree(aside(out, step), ignore_errors=True)


def seal(out: Path, step: int) -> None:
    """Name what is in the folder aside, and give it its place; old states go."""
    written, place = aside(out, step), out / "state" / f"{step:08}"
    hashes = {file.name: fetch.sha256(file) for file in sorted(written.iterdir())}
    (written / SEAL).write_text(json.dumps(hashes, indent=2))
    shutil.rmtree(place, ignore_errors=True)
    written.rename(place)
    for old in _all(out)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def newest(out: Path, warn: Callable[[str], None]) -> tuple[int, Path] | None:
    """The step and folder of the newest whole state; damaged ones are named to `warn`."""
    for place in reversed(_all(out)):
        if _is_whole(place):
            return int(place.name), place
        warn(f"{place} is damaged; the state before it is taken")
    warn(f"{out} has no whole state: the run begins anew")
    return None


def save_tensors(place: Path, name: str, tensors: dict[str, Tensor]) -> None:
    fetch.save_tensors({key: value.contiguous() for key, value in tensors.items()}, place / name)


def says_full(error: BaseException) -> bool:
    """Whether something failed for want of disk space, whichever library says so."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return True
    return "No space left" in str(error) or f"os error {errno.ENOSPC}" in str(error)


def load_tensors(place: Path, name: str) -> dict[str, Tensor]:
    return load_file(place / name)


def save_object(place: Path, name: str, value: Any) -> None:
    """An optimizer's state and the like: plain containers, numbers and tensors."""
    try:
        torch.save(value, place / name)
    except RuntimeError as error:  # what torch makes of a full disk, or of anything else
        raise OSError(errno.ENOSPC if _is_full(place) else errno.EIO, str(error)) from error


def load_object(place: Path, name: str) -> Any:
    return torch.load(place / name, map_location="cpu", weights_only=True)


def _is_full(place: Path) -> bool:
    return shutil.disk_usage(place).free < NEARLY_FULL


def _all(out: Path) -> list[Path]:
    return sorted(path for path in (out / "state").glob("[0-9]*") if path.name.isdigit())


def _is_whole(place: Path) -> bool:
    try:
        hashes = json.loads((place / SEAL).read_bytes())
        return all(fetch.sha256(place / name) == digest for name, digest in hashes.items())
    except (OSError, ValueError, AttributeError):
        return False
