"""safetensors files as NumPy arrays: bf16 too, which NumPy lacks, and without torch."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmtui.errors import InputError

if TYPE_CHECKING:
    from gguf.utility import LocalTensor

_TYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}


def read(path: Path) -> dict[str, Callable[[], np.ndarray]]:
    """By name, what reads a tensor from the file as fp32. Raises InputError if it is damaged."""
    from gguf.utility import SafetensorsLocal

    try:
        stored = SafetensorsLocal(path).tensors
        sizes = {name: np.prod(t.shape, dtype=np.int64) for name, t in stored.items()}
        for name, tensor in stored.items():
            size = int(sizes[name]) * np.dtype(_TYPES[tensor.dtype]).itemsize
            span = tensor.data_range
            if span.size != size or span.offset + size > path.stat().st_size:
                raise ValueError(f"{name} has no {size} bytes")
    except (OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise InputError(f"{path} is damaged: {error}", "fetch it again") from error
    return {name: _reader(tensor) for name, tensor in stored.items()}


def _reader(tensor: "LocalTensor") -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        values = tensor.mmap_bytes().view(_TYPES[tensor.dtype]).reshape(tensor.shape)
        if tensor.dtype == "BF16":
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32)

    return read
