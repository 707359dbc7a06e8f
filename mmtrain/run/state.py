"""Save and find the training state of a run.

A state is written to a hidden folder, sealed with the hashes of its files, and renamed. The last
two states are kept.
"""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from mmtui.pipeline.assets import fetch, hashes

KEPT_STATES = 2
MIN_FREE_BYTES = 1 << 20  # with less, the disk is considered full
SEAL = "seal.json"


def get_partial_folder(out: Path, step: int) -> Path:
    """Return the folder to which all processes write a state before one of them seals it."""
    return out / "state" / f".{step:08}"


def start(out: Path, step: int) -> None:
    """Create the folder of a state that will be written."""
    discard(out, step)
    get_partial_folder(out, step).mkdir(parents=True)


def discard(out: Path, step: int) -> None:
    """Delete a state that was not sealed."""
    shutil.rmtree(get_partial_folder(out, step), ignore_errors=True)


def seal(out: Path, step: int) -> None:
    """Record the hashes of a written state, rename its folder, and delete old states."""
    written, place = get_partial_folder(out, step), out / "state" / f"{step:08}"
    digests = {file.name: hashes.compute(file) for file in sorted(written.iterdir())}
    (written / SEAL).write_text(json.dumps(digests, indent=2))
    shutil.rmtree(place, ignore_errors=True)
    written.rename(place)
    for old in _all(out)[:-KEPT_STATES]:
        shutil.rmtree(old, ignore_errors=True)


def find_newest(out: Path, warn: Callable[[str], None]) -> tuple[int, Path] | None:
    """Return the step and folder of the newest intact state, or None if there is none.

    Args:
        out: The folder of the run.
        warn: Called with a message for each damaged state.
    """
    for place in reversed(_all(out)):
        if _is_intact(place):
            return int(place.name), place
        warn(f"{place} is damaged; the state before it is used")
    warn(f"{out} has no intact state: the run starts from the beginning")
    return None


def save_tensors(place: Path, name: str, tensors: dict[str, Tensor]) -> None:
    """Save tensors as safetensors."""
    fetch.save_tensors({key: value.contiguous() for key, value in tensors.items()}, place / name)


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error of any library means that the disk is full."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return True
    return "No space left" in str(error) or f"os error {errno.ENOSPC}" in str(error)


def load_tensors(place: Path, name: str) -> dict[str, Tensor]:
    """Load tensors that `save_tensors` saved."""
    return load_file(place / name)


def save_object(place: Path, name: str, value: Any) -> None:
    """Save containers, numbers and tensors, such as the state of an optimizer.

    Raises:
        OSError: The disk is full, or the file can't be written.
    """
    try:
        torch.save(value, place / name)
    except RuntimeError as error:  # torch raises it for every failed write
        raise OSError(errno.ENOSPC if _is_full(place) else errno.EIO, str(error)) from error


def load_object(place: Path, name: str) -> Any:
    """Load what `save_object` saved, onto the CPU."""
    return torch.load(place / name, map_location="cpu", weights_only=True)


def _is_full(place: Path) -> bool:
    return shutil.disk_usage(place).free < MIN_FREE_BYTES


def _all(out: Path) -> list[Path]:
    return sorted(path for path in (out / "state").glob("[0-9]*") if path.name.isdigit())


def _is_intact(place: Path) -> bool:
    try:
        digests = json.loads((place / SEAL).read_bytes())
        return all(hashes.compute(place / name) == digest for name, digest in digests.items())
    except (OSError, ValueError, AttributeError):
        return False
