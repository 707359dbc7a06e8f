"""Detection of change in synthetic sounds; test_transcription uses real speech."""

import numpy as np
import pytest

from mmtui.pipeline.speech.clip import RATE, Clip
from mmtui.pipeline.speech.voice import detect_change


def make_times(length: float) -> np.ndarray:
    return np.arange(int(length * RATE)) / RATE


def make_hum(hertz: float, length: float) -> np.ndarray:
    return 0.2 * sum(np.sin(2 * np.pi * hertz * k * make_times(length)) / k for k in (1, 2, 3, 5))


def to_clip(sound: np.ndarray) -> Clip:
    return sound.astype(np.float32)


@pytest.mark.parametrize("hertz", [100, 220, 440, 1500])
@pytest.mark.parametrize("length", [0.1, 0.3, 1, 4])
def test_tones_and_hums_do_not_change_even_if_they_swell(hertz, length):
    tone = 0.5 * np.sin(2 * np.pi * hertz * make_times(length))
    swelling = np.sin(np.pi * make_times(length) / length) ** 2
    breathing = 0.5 - 0.5 * np.cos(2 * np.pi * 0.7 * make_times(length))
    for sound in (tone, make_hum(hertz, length), make_hum(hertz, length) * swelling):
        assert detect_change(to_clip(sound)) == "none"
    assert detect_change(to_clip(make_hum(hertz, length) * breathing)) == "none"


def test_a_hum_with_the_rhythm_of_syllables_changes_in_loudness():
    syllables = np.sin(2 * np.pi * 2 * make_times(1)) ** 2  # 4 per second
    assert detect_change(to_clip(make_hum(220, 1) * syllables)) == "loudness"


def test_successive_vowels_change_in_spectrum():
    vowels = [
        make_hum(130, 0.15) + 0.3 * np.sin(2 * np.pi * f * make_times(0.15))
        for f in (700, 300, 2300)
    ]
    assert detect_change(to_clip(np.concatenate(vowels))) == "spectrum"


def test_a_sound_too_short_for_a_word_does_not_change():
    noise = np.random.default_rng(0).normal(0, 0.2, RATE)
    for length in (0, 1, 400, 1599):
        assert detect_change(to_clip(noise[:length])) == "none"
    assert detect_change(to_clip(noise[:1600])) == "spectrum"
