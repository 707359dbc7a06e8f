"""Conversion of samples between their formats."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip

SAMPLE_BYTES = 2


def to_clip(samples: bytes) -> "Clip":
    """Convert mono 16-bit samples to float32 in [-1, 1)."""
    import numpy as np

    complete = samples[: len(samples) // SAMPLE_BYTES * SAMPLE_BYTES]
    return np.frombuffer(complete, "<i2").astype(np.float32) / np.float32(32768)
