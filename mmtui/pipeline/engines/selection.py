"""Selection of an engine, for users who name none. No heavy library is imported for it."""

import ctypes
from pathlib import Path
from typing import NamedTuple

from mmtui.errors import UsageError
from mmtui.pipeline.assets.spec import EngineChoice, EngineName
from mmtui.pipeline.engines import probe
from mmtui.pipeline.engines.llama_library import find_packages
from mmtui.pipeline.gguf import conversion

_AUDIO_NOTE = "this model can hear: with --listen model, it gets recordings instead of transcripts"
_CRASH_NOTE = "llama.cpp crashes on this machine, so torch is used; run mmtui doctor for details"


class Selection(NamedTuple):
    """An engine, and a note about the choice for the user, if there is something to know."""

    engine: EngineName
    note: str | None = None


def select_engine(weights: Path, adapter: Path | None) -> Selection:
    """Return the preferred engine if it is installed, works and supports the model, else torch.

    Args:
        weights: The language model, a GGUF or a folder in Hugging Face's layout.
        adapter: Folder of its LoRA adapter.
    """
    if conversion.get_unsupported_reason(weights, adapter) is not None:
        return Selection("torch")
    return prefer_engine()


def select_for_gguf(choice: EngineChoice, can_hear: bool = False) -> Selection:
    """Return llama.cpp, the only engine that runs a GGUF as it is.

    Args:
        choice: The engine that the user chose.
        can_hear: Whether the mmproj of the model has an audio tower.

    Raises:
        UsageError: The user chose another one.
    """
    if choice == "torch":
        raise UsageError("the engine torch can't run a GGUF file", "--engine llamacpp")
    return Selection("llamacpp", _AUDIO_NOTE if can_hear else None)


def prefer_engine() -> Selection:
    """Return llama.cpp on a CPU if it is installed and works, else torch."""
    if not is_installed() or has_gpu():
        return Selection("torch")
    best = probe.choose_package()
    if best is None:
        return Selection("torch", _CRASH_NOTE)
    _, outcome = best
    # `mmtui doctor` reports an installation that can't be loaded.
    return Selection("torch" if outcome == "can't be loaded" else "llamacpp")


def is_installed() -> bool:
    """Return whether a Python package that contains llama.cpp is installed."""
    return bool(find_packages())


def has_gpu() -> bool:
    """Return whether torch can use a GPU.

    NVIDIA's driver is queried first, because importing torch takes a second.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return False
    try:
        import torch
    except (ImportError, OSError):  # the installation is broken, which `mmtui doctor` reports
        return False
    return torch.cuda.is_available()
