"""Utterances are cut out of a stream of sound."""

import av
import numpy as np
import pytest

from mmtui.pipeline.speech.activity import UtteranceDetector, VoiceActivity
from mmtui.pipeline.speech.clip import RATE
from mmtui.pipeline.speech.spoken_text import Sentence
from mmtui.pipeline.speech.synthesis import RATE as VOICE_RATE
from mmtui.pipeline.speech.synthesis import SynthesizerProcess

BLOCK = 800  # samples, as from the microphone


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Somebody says a sentence."""
    process = SynthesizerProcess()
    samples = process.synthesize(Sentence("Hello, can you hear what I am saying?", "en"), "heart")
    process.close()
    frame = av.AudioFrame.from_ndarray(np.frombuffer(samples, "<i2")[None], "s16", "mono")
    frame.sample_rate = VOICE_RATE
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    pieces = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([piece.to_ndarray()[0] for piece in pieces])


@pytest.fixture
def detector() -> UtteranceDetector:
    return UtteranceDetector(VoiceActivity())


def feed(detector: UtteranceDetector, sound: np.ndarray) -> tuple[list[np.ndarray], list[bool]]:
    """Feed a sound block by block, and return the utterances, and when somebody was heard."""
    utterances, hearing = [], []
    for start in range(0, len(sound), BLOCK):
        utterances += detector.feed(sound[start : start + BLOCK])
        hearing.append(detector.is_hearing)
    return utterances, hearing


def make_noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.003, int(seconds * RATE)).astype(np.float32)


def test_sentences_between_pauses_are_utterances(detector, speech):
    pause = make_noise(1.5)
    utterances, hearing = feed(detector, np.concatenate([pause, speech, pause, speech, pause]))
    assert len(utterances) == 2 and any(hearing) and not hearing[0] and not hearing[-1]
    for utterance in utterances:
        assert len(speech) - RATE // 2 < len(utterance) < len(speech) + 1.5 * RATE


def test_silence_and_noise_are_no_utterances(detector):
    click = make_noise(0.05) * 100
    sound = np.concatenate([make_noise(3), click, make_noise(3), np.zeros(RATE, np.float32)])
    assert feed(detector, sound)[0] == []


def test_an_utterance_ends_after_fifteen_seconds(detector, speech):
    endless = np.concatenate([speech] * 12)[: 20 * RATE]
    utterances, _ = feed(detector, endless)
    assert utterances and all(len(utterance) <= 15 * RATE for utterance in utterances)


def test_a_reset_forgets_what_was_said(detector, speech):
    feed(detector, speech)
    assert detector.is_hearing
    detector.reset()
    assert not detector.is_hearing and feed(detector, make_noise(2))[0] == []
