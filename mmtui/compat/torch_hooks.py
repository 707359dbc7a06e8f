"""What torch does not document. See `mmtui.compat` for the versions."""

from contextlib import AbstractContextManager
from typing import Any

import torch


def supports_bf16_on_cpu() -> bool:
    """Return whether the CPU has instructions for products in bf16, which oneDNN then uses.

    Without them bf16 is emulated, and slower than fp32.
    """
    mkldnn: Any = torch.backends.mkldnn
    return bool(mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def fake_tensors() -> AbstractContextManager[object]:
    """Return a context in which new tensors have a shape but no memory."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode()
