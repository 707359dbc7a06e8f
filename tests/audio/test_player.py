"""The player with a fake sound system: playing, pausing, and errors of the devices."""

import threading

import pytest
from fake_sound import install_fake_sound

from mmtui.audio.player import SystemSpeaker
from mmtui.errors import MissingError

RATE = 16_000


@pytest.fixture
def sound(tmp_path, monkeypatch):
    return lambda mode: install_fake_sound(tmp_path, monkeypatch, mode)


def play_seconds(seconds: float, device: str | None = None) -> None:
    """Play silence, and wait until it has ended."""
    playback = SystemSpeaker().open(RATE, device)
    playback.write(bytes(int(seconds * RATE) * 2))
    playback.finish()
    playback.wait()


@pytest.mark.parametrize("mode", ["works", "stereo"])
def test_what_is_written_is_played(sound, mode):
    played = sound(mode)
    playback = SystemSpeaker().open(RATE)
    for _ in range(8):
        playback.write(b"\0\x40" * (RATE // 2))
    playback.finish()
    playback.wait()
    assert played.read_text() == f"{4 * RATE} {RATE}"
    assert playback.seconds == 4 and playback.has_ended


def test_the_level_is_that_of_what_is_played(sound):
    sound("works")
    playback, pause = SystemSpeaker().open(RATE), threading.Event()
    playback.write(b"\0\x40" * RATE)
    while not playback.level:
        pause.wait(0.01)
    assert playback.level == 0.5
    playback.stop()
    playback.wait()
    assert playback.has_ended and playback.level == 0


def test_a_paused_sound_continues(sound):
    played = sound("works")
    playback = SystemSpeaker().open(RATE)
    playback.set_paused(True)
    playback.write(bytes(RATE))
    playback.set_volume(0.5)
    playback.set_paused(False)
    playback.finish()
    playback.wait()
    assert played.read_text() == f"{RATE // 2} {RATE}"


def test_stopping_ends_a_write_that_waits(sound):
    sound("plays long")
    playback = SystemSpeaker().open(RATE)
    playback.write(bytes(10 * RATE))
    threading.Timer(0.5, playback.stop).start()
    playback.write(bytes(10 * RATE))
    playback.finish()
    playback.wait()


@pytest.mark.parametrize(
    ("mode", "message", "cure"),
    [
        ("no portaudio", "PortAudio is not installed", "libportaudio2"),
        ("no speaker", "there is no speaker or headphone", "plug one in"),
        ("busy", "the sound device can't be used: Error opening OutputStream", "mmtui doctor"),
        ("unplugged", "the speaker is gone: Device unavailable", "plug it in again"),
    ],
)
def test_errors_of_the_device_have_a_hint(sound, mode, message, cure):
    sound(mode)
    with pytest.raises(MissingError, match=message) as error:
        play_seconds(5)
    assert cure in str(error.value.hint)


def test_a_speaker_is_selected_by_name(sound):
    sound("works")
    assert SystemSpeaker().list_devices() == ["Speakers"]
    play_seconds(0.1, "Speakers")
    with pytest.raises(MissingError, match="there is no speaker 'Speak'"):
        play_seconds(0.1, "Speak")
    sound("no speaker")
    with pytest.raises(MissingError, match="there is no speaker or headphone"):
        SystemSpeaker().list_devices()
