"""Which engine answers, where the user leaves it open. Nothing heavy is imported to find out."""

import ctypes
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from mmtui.pipeline import conversion

EngineName = Literal["torch", "llamacpp"]


def best(weights: Path, adapter: Path | None) -> EngineName:
    """llama.cpp on a CPU, where it is installed and can have the model; else torch."""
    usable = is_installed() and not has_gpu() and conversion.refusal(weights, adapter) is None
    return "llamacpp" if usable else "torch"


def is_installed() -> bool:
    return find_spec("llama_cpp") is not None


def has_gpu() -> bool:
    """Whether torch would use one. NVIDIA's driver is asked first: torch takes a second."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return False
    import torch

    return torch.cuda.is_available()
