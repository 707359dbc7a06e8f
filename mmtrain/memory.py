"""How much memory there is, and how much was used at the most, in bytes."""

from contextlib import suppress
from pathlib import Path

import psutil
import torch

from mmtui.pipeline.memory import peak

__all__ = ["peak", "reset_peak", "room", "used"]


def room(device: torch.device) -> int:
    """Free on the device of a run."""
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(psutil.virtual_memory().available)


def used(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return int(psutil.Process().memory_info().rss)


def reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # Linux only, and not in every container
        Path("/proc/self/clear_refs").write_text("5")
