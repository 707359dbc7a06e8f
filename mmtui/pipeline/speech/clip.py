"""The samples of a recording, without what decodes them, whose import takes long."""

import numpy as np
from numpy.typing import NDArray

RATE = 16_000  # Hz, the sampling rate of Whisper

Clip = NDArray[np.float32]  # (samples,) in [-1, 1], mono
