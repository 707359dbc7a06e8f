"""Recording and transcribing in the plain chat."""

import base64
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from plain_user import FakeRecording

from mmtui.chat.protocol import ChatTurn
from mmtui.errors import MissingError


def test_enter_ends_a_recording_and_its_transcript_is_sent(chat):
    run = chat("/microphone Other Mic\n/record\n\n", lines_after="Please.\n")
    assert run.microphone.device == "Other Mic" and "  Fake Mic\n* Other Mic\n" in run.err
    assert "recording: press Enter to finish (at most 15 s)" in run.err and "\r" not in run.err
    assert "transcript: tell a joke" in run.err and "attached: voice.wav" in run.err
    assert len(run.model.clips[0]) == 32_000
    assert run.model.asked == [(ChatTurn("user", "tell a joke\nPlease."),)]


def test_a_full_recording_ends_and_the_next_line_is_a_message(chat):
    run = chat(
        "/record\n", lines_after="Please.\nAnd now?\n", recording=FakeRecording(seconds=15.0)
    )
    assert len(run.model.clips[0]) == 240_000
    assert [turns[-1].text for turns in run.model.asked] == ["tell a joke\nPlease.", "And now?"]


def test_a_line_with_text_ends_a_recording_and_is_the_next_message(chat):
    run = chat("/record\nPlease.\n")
    assert run.model.asked == [(ChatTurn("user", "tell a joke\nPlease."),)]


def test_a_missing_or_unplugged_microphone_is_reported_at_once(chat):
    missing = FakeRecording(0.0, MissingError("there is no microphone", "plug one in"))
    run = chat("/record\n", recording=missing)
    assert "error: there is no microphone\nhint: plug one in" in run.err
    assert run.model.clips == []
    gone = FakeRecording(2.0, MissingError("the microphone is gone", "plug it in again"))
    run = chat("/record\n", lines_after="Please.\n", recording=gone)
    assert "error: the microphone is gone\nhint: plug it in again" in run.err
    assert run.model.asked == [(ChatTurn("user", "tell a joke\nPlease."),)]


def test_ctrl_c_discards_a_recording(chat):
    recording = FakeRecording()
    recording.interrupts = True
    run = chat("/record\n", lines_after="Please.\n", recording=recording)
    assert "recording discarded" in run.err and run.model.clips == []
    assert run.model.asked == [(ChatTurn("user", "Please."),)]


def test_silence_is_reported_and_not_attached(chat):
    run = chat("/record\n\n", transcript="")
    assert "error: no speech found" in run.err and "attached" not in run.err
    muted = FakeRecording(0.0, MissingError("the microphone records nothing but silence", "muted?"))
    run = chat("/record\n\n", recording=muted, transcript="unheard")
    assert "error: the microphone records nothing but silence\nhint: muted?" in run.err
    assert "no speech" not in run.err and "attached" not in run.err


SOUND = """
import numpy
class PortAudioError(Exception): pass
def query_devices(device=None, kind=None):
    return [{"name": "Fake Mic", "index": 0, "max_input_channels": 1}]
def check_input_settings(device=None, channels=None, samplerate=None): pass
class InputStream:
    active = True
    def __init__(self, **_): pass
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def read(self, count): return numpy.full((count, 1), 99, numpy.int16), False
"""


@pytest.fixture
def terminal(home, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Run `mmtui --plain` in a terminal, with a microphone that records without a delay."""
    (tmp_path / "sounddevice.py").write_text(SOUND)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    keyboard, screen = pty.openpty()
    process = subprocess.Popen(
        [Path(sys.executable).with_name("mmtui"), "--plain"],
        stdin=screen, stdout=screen, stderr=screen, start_new_session=True,
        env={**os.environ, **home, "PYTHONPATH": path, "TERM": "xterm"},
    )  # fmt: skip
    os.close(screen)

    def type_and_wait(line: str, *expected: str) -> str:
        """Type a line; return the output when it contains all expected texts, in this order."""
        os.write(keyboard, line.encode())
        output, position = "", 0
        for text in expected:
            while (found := output.find(text, position)) < 0:
                output += os.read(keyboard, 1000).decode(errors="replace")
            position = found + len(text)
        return output

    yield type_and_wait
    process.kill()
    process.wait()
    os.close(keyboard)


def test_a_terminal_shows_a_countdown_and_copies_answers(terminal):
    terminal("", "> ")
    output = terminal("/record\n", "15 s left", "attached: voice.wav", "> ")
    assert "\rrecording: press Enter to finish (15 s left)" in output
    terminal("Hello\n", "\n", "\n> ")  # read by the thread that waited for Enter
    output = terminal("/copy\n", "the terminal's clipboard", "> ")
    _, _, encoded = output.partition("\x1b]52;c;")
    assert base64.b64decode(encoded.partition("\a")[0]).decode().strip()


def test_a_recording_from_a_file_is_transcribed(talk, shared, smol):
    clip = shared / "speech" / "LJ001-0001.wav"
    run = talk(f"/audio {clip}", arguments=("--model", "smol"))
    assert "transcript: " in run.err and "printing" in run.err.lower(), run.err
