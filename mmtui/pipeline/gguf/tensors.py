"""Reading of safetensors files with NumPy, including bf16, without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmtui.errors import InputError

_TYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a safetensors file, which is read when it is needed."""

    shape: tuple[int, ...]
    _tensor: Any  # gguf.utility.LocalTensor

    def read(self) -> np.ndarray:
        """Return the tensor in fp32."""
        values: np.ndarray = self._tensor.mmap_bytes().view(_TYPES[self._tensor.dtype])
        if self._tensor.dtype == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32).reshape(self.shape)


def list_names(path: Path) -> list[str]:
    """List the names of the tensors in a file; faster than `open_tensors`.

    Raises:
        InputError: The file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return list(file.keys())
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is damaged: {error}", "fetch it again") from error


def open_tensors(path: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a file by name, without reading their values yet.

    Raises:
        InputError: The file is damaged.
    """
    from gguf.utility import SafetensorsLocal

    try:
        stored = SafetensorsLocal(path).tensors
        for name, tensor in stored.items():
            size = int(np.prod(tensor.shape)) * np.dtype(_TYPES[tensor.dtype]).itemsize
            span = tensor.data_range
            if span.size != size or span.offset + size > path.stat().st_size:
                raise ValueError(f"{name} does not have {size} bytes")
    except (OSError, ValueError, LookupError, TypeError, OverflowError, MemoryError) as error:
        raise InputError(f"{path} is damaged: {error}", "fetch it again") from error
    return {name: StoredTensor(tuple(tensor.shape), tensor) for name, tensor in stored.items()}
