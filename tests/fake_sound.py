"""A fake `sounddevice` for the processes that use the sound devices."""

import os
from pathlib import Path

import pytest

# Controlled by the environment variable FAKE_SOUND.
FAKE = """
import os, sys, threading
import numpy as np
os.write(2, b"ALSA lib: noise on stderr\\n")
MODE = os.environ["FAKE_SOUND"]
if MODE == "no portaudio":
    raise OSError("PortAudio library not found")
if MODE == "hangs":
    threading.Event().wait()
class PortAudioError(Exception): pass
RATE = 44_100 if "44 kHz" in MODE else 16_000
def query_devices(device=None, kind=None):
    mine = {"name": "Fake Mic", "index": 1, "max_input_channels": 1}
    mine["default_samplerate"] = float(RATE)
    mine["max_output_channels"] = 0
    if device is not None or kind is not None:
        return mine
    speakers = {"name": "Speakers", "index": 0, "max_input_channels": 0, "max_output_channels": 2}
    if MODE == "no speaker":
        return [mine]
    return [speakers] if MODE == "no microphone" else [speakers, mine]
def check_input_settings(device=None, channels=None, samplerate=None):
    if samplerate != RATE:
        raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")
class InputStream:
    def __init__(self, device, samplerate, channels, dtype, blocksize):
        if MODE == "refused":
            raise PortAudioError("Error opening InputStream: Permission denied [PaErrorCode -9]")
        assert samplerate == RATE and device in (None, 1)
        self.samplerate, self.at, self.active = samplerate, 0, True
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def read(self, count):
        times = (self.at + np.arange(count)) / self.samplerate
        self.at += count
        if MODE == "file":
            samples = np.fromfile(os.environ["FAKE_INPUT"], "<i2")[self.at - count : self.at]
            if len(samples) < count:
                raise PortAudioError("Device unavailable [PaErrorCode -9985]")
            return samples[:, None], False
        if "unplugged" in MODE and self.at > self.samplerate:
            raise PortAudioError("Device unavailable [PaErrorCode -9985]")
        if MODE == "silent":
            return np.zeros((count, 1), np.int16), False
        return (16384 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)[:, None], False
def check_output_settings(device=None, channels=None, samplerate=None):
    if MODE == "stereo" and channels != 2:
        raise PortAudioError("Invalid number of channels [PaErrorCode -9998]")
class OutputStream:
    def __init__(self, device, samplerate, channels, dtype):
        if MODE == "busy":
            raise PortAudioError("Error opening OutputStream: Device unavailable [PaErrorCode -9]")
        assert device in (None, 0)
        self.samplerate, self.count, self.channels = samplerate, 0, channels
    def __enter__(self): return self
    def __exit__(self, *_):
        text = f"{self.count} {self.samplerate}"
        open(os.environ["FAKE_PLAYED"], "w").write(text)
    def write(self, samples):
        if MODE == "plays long":
            threading.Event().wait()
        if MODE == "unplugged" and self.count > self.samplerate / 10:
            raise PortAudioError("Device unavailable [PaErrorCode -9985]")
        assert samples.shape[1] == self.channels
        self.count += len(samples)
"""


def install_fake_sound(folder: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> Path:
    """Replace `sounddevice` in processes that are started from now on.

    Args:
        folder: Where the fake is written.
        monkeypatch: Restores the environment.
        mode: What the sound system does, such as "works" or "no speaker".

    Returns:
        The file that will contain the number and the rate of the samples that were played.
    """
    (folder / "sounddevice.py").write_text(FAKE)
    monkeypatch.setenv("FAKE_SOUND", mode)
    monkeypatch.setenv("FAKE_PLAYED", str(folder / "played"))
    if str(folder) not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    return folder / "played"
