"""Measure free, used and peak memory in bytes."""

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import torch

from mmtui.memory import measure_peak

__all__ = [
    "HEAP_FACTOR",
    "measure_free",
    "measure_peak",
    "measure_used",
    "reset_peak",
    "return_freed_memory",
]

# Batches of different shapes fragment the heap of glibc. On a CPU, activations take up to this many
# times their size.
HEAP_FACTOR = 3


def measure_free(device: torch.device) -> int:
    """Return the free bytes on a device, including those that PyTorch has reserved."""
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(psutil.virtual_memory().available)


def measure_used(device: torch.device) -> int:
    """Return the bytes in use on a device: allocated on a GPU, resident on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return int(psutil.Process().memory_info().rss)


def reset_peak() -> None:
    """Restart the measurement of peak memory."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # Linux only, and not in every container
        Path("/proc/self/clear_refs").write_text("5")


def return_freed_memory() -> None:
    """Make glibc return the memory of freed tensors to the system at once.

    The process then occupies only what it uses, but it is slower: every tensor is mapped again.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        threshold_option, bytes_ = -3, 64 << 10  # M_MMAP_THRESHOLD, mallopt(3)
        libc.mallopt(threshold_option, bytes_)
        libc.malloc_trim(0)  # returns what was freed before
