"""Which engine answers, where the user leaves it open. Nothing heavy is imported to find out."""

import ctypes
from importlib.util import find_spec
from pathlib import Path

from mmtui.errors import MissingError
from mmtui.pipeline import conversion
from mmtui.pipeline.spec import EngineName


def best(weights: Path, adapter: Path | None) -> EngineName:
    """What this machine prefers, where it can have the model and be loaded; else torch."""
    if preferred() == "torch" or conversion.refusal(weights, adapter) is not None:
        return "torch"
    from mmtui.pipeline import engine_llamacpp

    try:
        engine_llamacpp.version()
    except MissingError:  # it is installed and broken, as `doctor` tells
        return "torch"
    return "llamacpp"


def preferred() -> EngineName:
    """llama.cpp on a CPU, where it is installed; else torch."""
    return "llamacpp" if is_installed() and not has_gpu() else "torch"


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
    try:
        import torch
    except (ImportError, OSError):  # it is installed and broken, as `doctor` tells
        return False
    return torch.cuda.is_available()
