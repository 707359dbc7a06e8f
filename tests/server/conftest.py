"""Fixtures for tests of the API."""

import numpy as np
import pytest

from mmtui.pipeline.input_files import encode_wav


@pytest.fixture(scope="session")
def clip_wav() -> bytes:
    """A recording of one second."""
    return encode_wav(np.sin(np.arange(16000, dtype=np.float32) / 10) / 2)
