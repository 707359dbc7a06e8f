"""Whether a piece of sound changes as speech does, in its spectrum or in its loudness.

Whisper writes "you" or "Thank you." under hums and tones, and voice detection lets them pass. The
limits were chosen by looking at 230 tones, hums and noises and at 250 clips of speech, down to
single words.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mmtui.pipeline.speech.sound import RATE, Clip

SHORTEST_S = 0.1  # a "go" has 0.3
# How alike the spectra of a sound are, 0 to 1: hums and tones reach 0.96, words at most 0.91.
_STEADY = 0.95
# Dips of 10 dB in a second: a syllable ends in one, and there are 3 to 6 syllables in a second.
_SYLLABLES = 3.0
_DIP_DB = 10.0
_LOUD_DB = 25.0  # below the loudest frame; quieter ones are not compared
_FRAME, _HOP = RATE * 32 // 1000, RATE * 16 // 1000


def detect_change(clip: Clip) -> Literal["none", "loudness", "spectrum"]:
    """Detect what changes in a sound.

    Returns:
        "spectrum" for words and noise; "loudness" where a constant sound comes and goes like
        syllables, as in "mm-hmm"; "none" for tones, for hums that only swell, and for what is
        too short for a word.
    """
    if len(clip) < SHORTEST_S * RATE:
        return "none"
    frames = np.lib.stride_tricks.sliding_window_view(clip, _FRAME)[::_HOP] * np.hanning(_FRAME)
    levels = 10 * np.log10(np.square(frames).sum(axis=1) + 1e-12)
    if _likeness(frames[levels > levels.max() - _LOUD_DB]) < _STEADY:
        return "spectrum"
    return "loudness" if _dips(levels) >= _SYLLABLES * len(clip) / RATE else "none"


def _likeness(frames: NDArray[np.float64]) -> float:
    """Return the norm of the mean of the frames' normalized spectra, 0 to 1."""
    spectra = np.abs(np.fft.rfft(frames, axis=1))
    spectra /= np.linalg.norm(spectra, axis=1, keepdims=True) + 1e-12
    return float(np.linalg.norm(spectra.mean(axis=0)))


def _dips(levels: NDArray[np.float64]) -> int:
    """Count how often the level falls by 10 dB and rises again by as much."""
    count, falls = 0, False
    peak = trough = levels[0]
    for level in levels:
        if falls:
            trough = min(trough, level)
            if level > trough + _DIP_DB:
                count, falls, peak = count + 1, False, level
        else:
            peak = max(peak, level)
            if level < peak - _DIP_DB:
                falls, trough = True, level
    return count
