"""Fixtures of the terminal interface."""

import wave
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The folder of an empty history."""
    return tmp_path / "store"


@pytest.fixture
def memo(tmp_path: Path) -> Path:
    """A recording of one second."""
    file = tmp_path / "my memo.wav"
    with wave.open(str(file), "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        tone = np.sin(np.arange(16_000) / 20) * 20_000
        sound.writeframes(tone.astype("<i2").tobytes())
    return file
