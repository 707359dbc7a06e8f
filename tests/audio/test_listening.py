"""Listening without an end, with a fake sound system that plays a file into the microphone."""

import threading

import numpy as np
import pytest
from fake_sound import install_fake_sound

from mmtui.audio.recorder import SystemMicrophone
from mmtui.pipeline.speech.spoken_text import Sentence
from mmtui.pipeline.speech.synthesis import SynthesizerProcess


def wait_until(condition) -> None:
    pause = threading.Event()
    while not condition():
        pause.wait(0.01)


@pytest.fixture
def speech(tmp_path, monkeypatch):
    """A microphone into which somebody speaks a sentence, and that is unplugged then."""
    process = SynthesizerProcess()
    samples = process.synthesize(Sentence("Hello, can you hear what I am saying?", "en"), "heart")
    process.close()
    voice = np.frombuffer(samples, "<i2")
    times = np.arange(len(voice) * 2 // 3) * 1.5  # 24 to 16 kHz
    voice = np.interp(times, np.arange(len(voice)), voice).astype("<i2")
    pause = np.zeros(24_000, "<i2")
    np.concatenate([pause, voice, pause]).tofile(tmp_path / "input")
    monkeypatch.setenv("FAKE_INPUT", str(tmp_path / "input"))
    install_fake_sound(tmp_path, monkeypatch, "file")
    return voice


def test_an_utterance_is_returned_when_it_has_ended(speech):
    listening = SystemMicrophone().listen("Fake Mic")
    wait_until(lambda: listening.error)
    assert str(listening.error) == "the microphone is gone: Device unavailable"
    assert listening.is_open and not listening.is_hearing
    utterance = listening.take_utterance()
    assert utterance is not None and utterance.dtype == np.float32
    assert len(speech) - 8000 < len(utterance) < len(speech) + 24_000
    assert listening.take_utterance() is None


@pytest.mark.parametrize(
    ("mode", "message"),
    [("no portaudio", "PortAudio is not installed"), ("no microphone", "there is no microphone")],
)
def test_errors_of_the_microphone_are_reported(tmp_path, monkeypatch, mode, message):
    install_fake_sound(tmp_path, monkeypatch, mode)
    listening = SystemMicrophone().listen()
    wait_until(lambda: listening.error)
    assert message in str(listening.error) and not listening.is_open


def test_a_muted_microphone_hears_nothing(tmp_path, monkeypatch):
    install_fake_sound(tmp_path, monkeypatch, "works")
    listening = SystemMicrophone().listen()
    wait_until(lambda: listening.level > 0.4)
    listening.set_muted(True)
    wait_until(lambda: listening.level == 0)
    listening.set_muted(False)
    wait_until(lambda: listening.level > 0.4)
    listening.stop()
    assert listening.error is None
