"""How much memory there is, and how much was used at the most, in bytes."""

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import torch

from mmtui.memory import peak

__all__ = ["HEAP_FACTOR", "peak", "reset_peak", "return_freed_memory", "room", "used"]

# Batches of changing shape leave the heap of glibc in pieces: on a CPU, activations take up to so
# many times their bytes.
HEAP_FACTOR = 3


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


def return_freed_memory() -> None:
    """Have glibc give freed tensors back to the system at once.

    A process is then no larger than what it uses, and slower: each tensor is mapped anew.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        threshold_option, bytes_ = -3, 64 << 10  # M_MMAP_THRESHOLD, mallopt(3)
        libc.mallopt(threshold_option, bytes_)
        libc.malloc_trim(0)  # and what was freed before
