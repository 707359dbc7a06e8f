"""Which engine answers, where the user leaves it open. Nothing heavy is imported to find out."""

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.errors import MissingError
from mmtui.pipeline.assets.fetch import Report, silent
from mmtui.pipeline.assets.spec import EngineName, Precision
from mmtui.pipeline.engines import probe
from mmtui.pipeline.engines.llama_library import find_packages
from mmtui.pipeline.gguf import conversion

if TYPE_CHECKING:
    from mmtui.pipeline.engines.llamacpp_engine import LlamaModel

CRASHES = "llama.cpp crashes on this machine, so torch is used; mmtui doctor says more"


def best(weights: Path, adapter: Path | None) -> tuple[EngineName, str | None]:
    """Choose what this machine prefers, where that can have the model and be loaded; else torch.

    Returns:
        The engine, and what its user should know about the choice, if anything.
    """
    if conversion.refusal(weights, adapter) is not None:
        return "torch", None
    if preferred() == "torch":
        return "torch", CRASHES if is_wanted() else None
    try:
        probe.choose_library()
    except MissingError:  # it is installed and broken, as `doctor` tells
        return "torch", None
    return "llamacpp", None


def preferred() -> EngineName:
    """llama.cpp on a CPU, where it is installed and does not crash; else torch."""
    return "llamacpp" if is_wanted() and probe.choose_package() is not None else "torch"


def load_llamacpp(
    weights: Path,
    *,
    precision: Precision = "auto",
    adapter: Path | None = None,
    report: Report = silent,
) -> "LlamaModel":
    """Load weights with the llama.cpp that works best on this machine.

    Raises:
        MissingError: llama.cpp is not installed, or crashes on this machine.
        InputError: llama.cpp can't load these weights.
    """
    from mmtui.pipeline.engines import llamacpp_engine

    library, outcome = probe.choose_library()
    return llamacpp_engine.load(
        weights,
        library,
        extra_buffers=outcome == "works",
        precision=precision,
        adapter=adapter,
        report=report,
    )


def is_wanted() -> bool:
    """Whether llama.cpp is installed, and there is no GPU for torch."""
    return is_installed() and not has_gpu()


def is_installed() -> bool:
    return bool(find_packages())


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
