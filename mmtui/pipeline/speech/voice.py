"""Detection of tones and hums, which voice activity detection takes for speech.

Whisper hallucinates "you" or "Thank you." from them. Speech changes in its spectrum or, at least,
in its loudness. The limits were chosen on 230 tones, hums and noises and 250 clips of speech,
including single words.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mmtui.pipeline.speech.clip import RATE, Clip

MIN_DURATION_S = 0.1  # the word "go" takes 0.3 s
# Similarity of the spectra of a sound, 0 to 1: that of hums and tones is at least 0.96, that of
# words at most 0.91.
_MAX_SIMILARITY = 0.95
# A syllable ends with a dip of the level, and people speak 3 to 6 syllables per second.
_MIN_DIPS_PER_S = 3.0
_DIP_DB = 10.0
_DYNAMIC_RANGE_DB = 25.0  # frames that are quieter than the loudest by more are not compared
_FRAME, _HOP = RATE * 32 // 1000, RATE * 16 // 1000


def detect_change(clip: Clip) -> Literal["none", "loudness", "spectrum"]:
    """Detect what changes in a sound.

    Returns:
        "spectrum" for words and noise; "loudness" for a constant sound with the rhythm of
        syllables, as in "mm-hmm"; "none" for tones, for hums that only swell, and for a sound that
        is too short for a word.
    """
    if len(clip) < MIN_DURATION_S * RATE:
        return "none"
    frames = np.lib.stride_tricks.sliding_window_view(clip, _FRAME)[::_HOP] * np.hanning(_FRAME)
    levels = 10 * np.log10(np.square(frames).sum(axis=1) + 1e-12)
    if _measure_similarity(frames[levels > levels.max() - _DYNAMIC_RANGE_DB]) < _MAX_SIMILARITY:
        return "spectrum"
    return "loudness" if _count_dips(levels) >= _MIN_DIPS_PER_S * len(clip) / RATE else "none"


def _measure_similarity(frames: NDArray[np.float64]) -> float:
    """Return the norm of the mean of the frames' normalized spectra, 0 to 1."""
    spectra = np.abs(np.fft.rfft(frames, axis=1))
    spectra /= np.linalg.norm(spectra, axis=1, keepdims=True) + 1e-12
    return float(np.linalg.norm(spectra.mean(axis=0)))


def _count_dips(levels: NDArray[np.float64]) -> int:
    """Count how often the level falls by 10 dB and rises again by as much."""
    count, is_falling = 0, False
    peak = trough = levels[0]
    for level in levels:
        if is_falling:
            trough = min(trough, level)
            if level > trough + _DIP_DB:
                count, is_falling, peak = count + 1, False, level
        else:
            peak = max(peak, level)
            if level < peak - _DIP_DB:
                is_falling, trough = True, level
    return count
