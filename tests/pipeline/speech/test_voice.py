"""Which sounds change as speech does: made of sines here, of real words in test_speech."""

import numpy as np
import pytest

from mmtui.pipeline.speech.sound import RATE, Clip
from mmtui.pipeline.speech.voice import detect_change


def seconds(length: float) -> np.ndarray:
    return np.arange(int(length * RATE)) / RATE


def hum(hertz: float, length: float) -> np.ndarray:
    return 0.2 * sum(np.sin(2 * np.pi * hertz * k * seconds(length)) / k for k in (1, 2, 3, 5))


def as_clip(sound: np.ndarray) -> Clip:
    return sound.astype(np.float32)


@pytest.mark.parametrize("hertz", [100, 220, 440, 1500])
@pytest.mark.parametrize("length", [0.1, 0.3, 1, 4])
def test_tones_and_hums_do_not_move_even_if_they_swell(hertz, length):
    tone = 0.5 * np.sin(2 * np.pi * hertz * seconds(length))
    swelling = np.sin(np.pi * seconds(length) / length) ** 2
    breathing = 0.5 - 0.5 * np.cos(2 * np.pi * 0.7 * seconds(length))
    for sound in (tone, hum(hertz, length), hum(hertz, length) * swelling):
        assert detect_change(as_clip(sound)) == "none"
    assert detect_change(as_clip(hum(hertz, length) * breathing)) == "none"


def test_a_hum_that_comes_and_goes_like_syllables():
    syllables = np.sin(2 * np.pi * 2 * seconds(1)) ** 2  # 4 a second
    assert detect_change(as_clip(hum(220, 1) * syllables)) == "loudness"


def test_vowels_that_follow_each_other():
    vowels = [
        hum(130, 0.15) + 0.3 * np.sin(2 * np.pi * f * seconds(0.15)) for f in (700, 300, 2300)
    ]
    assert detect_change(as_clip(np.concatenate(vowels))) == "spectrum"


def test_what_is_too_short_for_a_word():
    noise = np.random.default_rng(0).normal(0, 0.2, RATE)
    for length in (0, 1, 400, 1599):
        assert detect_change(as_clip(noise[:length])) == "none"
    assert detect_change(as_clip(noise[:1600])) == "spectrum"
