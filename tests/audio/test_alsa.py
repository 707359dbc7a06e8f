"""Playing and listening with the real PortAudio, over files that ALSA takes for devices."""

import subprocess
import sys
import threading
import wave
from pathlib import Path

import numpy as np
import pytest

from mmtui.audio.player import SystemSpeaker
from mmtui.audio.recorder import SystemMicrophone
from mmtui.pipeline.speech.spoken_text import Sentence
from mmtui.pipeline.speech.synthesis import RATE, SynthesizerProcess

ALSA = Path("/usr/share/alsa/alsa.conf")
HAS_PORTAUDIO = (
    sys.platform == "linux"
    and ALSA.exists()
    and not subprocess.run(
        [sys.executable, "-c", "import sounddevice"], capture_output=True, check=False
    ).returncode
)
pytestmark = pytest.mark.skipif(not HAS_PORTAUDIO, reason="PortAudio or ALSA is not here")


@pytest.fixture(scope="module")
def speech() -> bytes:
    """Somebody says a sentence."""
    process = SynthesizerProcess()
    samples = process.synthesize(Sentence("Hello, can you hear what I am saying?", "en"), "heart")
    process.close()
    return samples


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speech: bytes) -> Path:
    """A sound system whose microphone reads in.raw, and whose speaker writes out.wav."""
    voice = np.frombuffer(speech, "<i2")
    times = np.arange(len(voice) * 2 // 3) * 1.5  # to 16 kHz
    pause = np.zeros(32_000, "<i2")
    clip = np.interp(times, np.arange(len(voice)), voice).astype("<i2")
    np.concatenate([pause, clip, pause]).tofile(tmp_path / "in.raw")
    (tmp_path / "alsa.conf").write_text(
        f"<{ALSA}>\n"
        "pcm.nothing { type null }\n"
        f'pcm.speaker {{ type file slave.pcm "nothing" file "{tmp_path}/out.wav" format "wav" }}\n'
        'pcm.microphone { type file slave.pcm "nothing" file "/dev/null"'
        f' infile "{tmp_path}/in.raw" }}\n'
    )
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "alsa.conf"))
    if "speaker" not in SystemSpeaker().list_devices():
        pytest.skip("PortAudio does not see the devices of ALSA's configuration")
    return tmp_path


def test_speech_is_played(folder, speech):
    playback = SystemSpeaker().open(RATE, "speaker")
    playback.write(speech)
    playback.finish()
    playback.wait()
    with wave.open(str(folder / "out.wav")) as file:
        assert file.getframerate() == RATE
    played = np.frombuffer((folder / "out.wav").read_bytes()[44:], "<i2")
    assert np.array_equal(played[: len(speech) // 2], np.frombuffer(speech, "<i2"))


def test_an_utterance_is_heard(folder, speech):
    microphone = SystemMicrophone()
    if "microphone" not in microphone.list_devices():
        pytest.skip("ALSA's file plugin can't record here")
    listening, pause = microphone.listen("microphone"), threading.Event()
    while (utterance := listening.take_utterance()) is None and listening.error is None:
        pause.wait(0.02)
    listening.stop()
    assert utterance is not None, listening.error
    assert len(utterance) > len(speech) // 3 - 16_000
