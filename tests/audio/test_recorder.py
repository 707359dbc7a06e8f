"""The recorder with a fake sound system: recording, playing, and errors of the devices."""

import io
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from fake_sound import install_fake_sound

from mmtui.audio import recorder
from mmtui.audio.player import SystemSpeaker, play_wav
from mmtui.audio.recorder import LIMIT_S, SystemMicrophone
from mmtui.cli.doctor import examine
from mmtui.errors import MissingError
from mmtui.pipeline.input_files import encode_wav


@pytest.fixture
def sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recorder, "TIMEOUT_S", 60.0)  # on a busy machine

    def mode(name: str) -> SystemMicrophone:
        install_fake_sound(tmp_path, monkeypatch, name)
        return SystemMicrophone()

    return mode


def wait_until_ended(recording) -> None:
    """Wait until nothing more is recorded."""
    recording._thread.join(timeout=60)
    assert not recording._thread.is_alive()


def test_recording_stops_after_fifteen_seconds(sound, capfd):
    recording = sound("works").record()
    wait_until_ended(recording)
    assert recording.is_full and recording.error is None and recording.seconds == LIMIT_S
    assert recording.level == pytest.approx(0.5, abs=0.01)
    clip = recording.finish()
    assert clip.dtype == np.float32 and len(clip) == 15 * 16_000
    assert np.abs(clip).max() == pytest.approx(0.5, abs=0.01)
    assert capfd.readouterr().err == ""


def test_a_device_with_another_rate_is_resampled(sound):
    recording = sound("44 kHz").record()
    wait_until_ended(recording)
    clip = recording.finish()[16_000:32_000]
    spectrum = np.abs(np.fft.rfft(clip))
    assert spectrum.argmax() == pytest.approx(440, abs=2)  # a second: bins of 1 Hz


def test_finishing_early_returns_the_samples_so_far(sound):
    pause = threading.Event()
    recording = sound("works").record()
    while not recording.seconds:
        pause.wait(0.01)
    clip = recording.finish()
    assert len(clip) > 0 and recording.error is None
    assert recording._process.poll() is not None


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("no portaudio", "PortAudio is not installed"),
        ("no microphone", "there is no microphone"),
        ("refused", "Permission denied"),
        ("unplugged", "the microphone is gone"),
    ],
)
def test_a_failed_recording_has_an_error_with_a_hint(sound, mode, message):
    recording = sound(mode).record()
    wait_until_ended(recording)
    assert isinstance(recording.error, MissingError) and message in str(recording.error)
    assert recording.error.hint and "PaErrorCode" not in str(recording.error)
    assert (len(recording.finish()) > 0) == (mode == "unplugged")


def test_a_recording_keeps_the_samples_before_the_microphone_was_unplugged(sound):
    recording = sound("unplugged").record()
    wait_until_ended(recording)
    assert str(recording.error) == "the microphone is gone: Device unavailable"
    assert recording.error.hint == "plug it in again, or choose another one"
    clip = recording.finish()
    tone = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000) / 2
    assert np.abs(clip - tone).max() < 0.001  # a second of it, and nothing else


def test_a_microphone_is_selected_by_name(sound):
    assert sound("works").list_devices() == ["Fake Mic"]
    missing = sound("works").record("Other")
    wait_until_ended(missing)
    assert "no microphone 'Other'" in str(missing.error)
    with pytest.raises(MissingError, match="PortAudio"):
        sound("no portaudio").list_devices()
    with pytest.raises(MissingError, match="there is no microphone") as error:
        sound("no microphone").list_devices()
    assert error.value.hint == "plug one in, or attach a recording with /audio"


@pytest.mark.parametrize(
    ("mode", "message", "cure"),
    [
        ("no microphone", "there is no microphone", "plug one in"),
        ("no portaudio", "PortAudio is not installed", "libportaudio2"),
        ("silent", "nothing but silence", "it may be muted"),
    ],
)
def test_silence_is_reported_only_without_another_error(sound, monkeypatch, mode, message, cure):
    monkeypatch.setattr(recorder, "TIMEOUT_S", 60.0)
    recording = sound(mode).record()
    while mode == "silent" and not recording.seconds:
        recording._is_ready.wait(0.01)
    clip = recording.finish()  # at once, before the device has answered
    assert not len(clip)
    assert message in str(recording.error) and cure in recording.error.hint


def test_a_recording_that_ends_before_it_starts_has_an_error(sound, monkeypatch):
    monkeypatch.setattr(recorder, "TIMEOUT_S", 0.0)
    recording = sound("hangs").record()
    assert not len(recording.finish())
    assert str(recording.error) == "nothing was recorded"


@pytest.mark.parametrize(
    ("mode", "state", "message", "cure"),
    [
        ("works", "ok", "Fake Mic", None),
        ("no microphone", "note", "there is no microphone", "plug one in"),
        ("no portaudio", "note", "PortAudio is not installed", "libportaudio2"),
        ("hangs", "note", "the sound system does not answer", "restart it"),
    ],
)
def test_doctor_reports_the_microphone(sound, monkeypatch, mode, state, message, cure):
    if mode == "hangs":
        monkeypatch.setattr(recorder, "TIMEOUT_S", 0.5)
    sound(mode)
    found = next(finding for finding in examine() if finding.name == "microphone")
    assert found.state == state and message in found.detail
    assert cure is None or cure in found.cure


def test_the_timeout_of_a_device_is_short_enough_for_quitting():
    assert recorder.TIMEOUT_S <= 3


def test_a_crash_of_the_sound_system_is_reported(monkeypatch):
    def crash(*_: str, stdin: int = 0) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", "import os; os.abort()"], stdout=-1)

    monkeypatch.setattr(recorder, "start_process", crash)
    recording = SystemMicrophone().record()
    wait_until_ended(recording)
    assert "has crashed" in str(recording.error)


def test_a_clip_is_played(sound, tmp_path):
    sound("works")
    play_wav(SystemSpeaker(), encode_wav(np.zeros(1600, np.float32))).wait()
    assert (tmp_path / "played").read_text() == "1600 16000"


def test_playback_can_be_stopped_and_raises_errors(sound):
    sound("plays long")
    playback = play_wav(SystemSpeaker(), encode_wav(np.zeros(1600, np.float32)))
    threading.Timer(0.5, playback.stop).start()
    playback.wait()
    sound("no portaudio")
    with pytest.raises(MissingError, match="PortAudio is not installed"):
        play_wav(SystemSpeaker(), encode_wav(np.zeros(1600, np.float32))).wait()


def test_a_part_of_a_microphone_s_name_does_not_select_it(sound):
    recording = sound("works").record("Mic")
    wait_until_ended(recording)
    assert "no microphone 'Mic'" in str(recording.error)


def run_device(*arguments: str, stdin: bytes = b"") -> tuple[int, list[dict], bytes]:
    """Run the process that holds the sound device. Returns its exit code, lines and samples."""
    command = [sys.executable, "-m", "mmtui.audio.device", *arguments]
    process = subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)
    lines, samples, output = [], b"", io.BytesIO(process.stdout)
    while line := output.readline():
        lines.append(json.loads(line))
        samples += output.read(lines[-1].get("bytes", 0))
    return process.returncode, lines, samples


@pytest.mark.parametrize("mode", ["unplugged", "unplugged at 44 kHz"])
def test_the_device_process_sends_16_khz_until_the_microphone_is_gone(sound, mode):
    sound(mode)
    code, lines, samples = run_device("record", "Fake Mic")
    assert code == 3 and lines[0] == {"rate": 16_000}
    assert lines[-1]["error"] == "the microphone is gone: Device unavailable"
    assert len(samples) // 2 == pytest.approx(16_000, rel=0.01)  # a second of it
    assert np.abs(np.frombuffer(samples, "<i2")).max() == pytest.approx(16_384, rel=0.02)


@pytest.mark.parametrize(
    ("mode", "arguments", "message"),
    [
        ("no portaudio", ["list"], "PortAudio is not installed"),
        ("no microphone", ["record"], "there is no microphone"),
        ("works", ["record", "Other"], "there is no microphone 'Other'"),
        ("refused", ["record"], "the sound device can't be used: Error opening InputStream"),
    ],
)
def test_the_device_process_exits_with_one_line_about_the_error(sound, mode, arguments, message):
    sound(mode)
    code, (line,), _ = run_device(*arguments)
    assert code == 3 and message in line["error"] and line["hint"]


def test_the_device_process_plays_the_samples_on_stdin(sound, tmp_path):
    sound("works")
    messages = b'{"rate": 16000, "volume": 1}\n{"bytes": 3200}\n' + bytes(3200)
    code, lines, _ = run_device("play", stdin=messages)
    assert code == 0 and lines[0] == {"rate": 16_000} and lines[-1] == {"done": True}
    assert (tmp_path / "played").read_text() == "1600 16000"
