"""`mmtui ask --speak` and `--speak-to`, with answers of a scripted server."""

import json
import signal
import subprocess
import threading
from typing import Any

import av
import pytest
from command_line import COMMAND, assert_error
from fake_audio import FakePlayback, FakeSpeaker, FakeSynthesizer
from fake_sound import install_fake_sound
from reply_media import stream, to_delta
from scripted_server import ScriptedServer, hang, reply, to_part

from mmtui.chat.config import Config
from mmtui.cli.speech import read_aloud

ANSWER = ("The **sky** is blue. ", "```\ncode\n```\n", "The grass is green.")


def count_seconds(path) -> float:
    with av.open(str(path)) as file:
        return sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))


@pytest.mark.parametrize("suffix", [".wav", ".mp3"])
def test_an_answer_is_written_as_speech(mmtui, tmp_path, suffix):
    file = tmp_path / f"answer{suffix}"
    with ScriptedServer(reply(*ANSWER)) as server:
        run = mmtui("ask", "--endpoint", server.url, "--speak-to", file, "--json", "Hi")
    assert run.code == 0 and run.err == "" and run.json["answer"] == "".join(ANSWER)
    assert 3 < count_seconds(file) < 8
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_spoken_answer_without_its_sound_is_read(mmtui, tmp_path):
    file = tmp_path / "answer.wav"
    words, damaged = {"transcript": "The sky is blue."}, {"data": "%%%%"}
    with ScriptedServer(stream(to_delta(audio=words), to_delta(audio=damaged))) as server:
        run = mmtui("ask", "--endpoint", server.url, "--speak-to", file, "Hi")
    assert (run.code, run.out) == (0, "The sky is blue.\n") and "is left out" in run.err
    assert 0.5 < count_seconds(file) < 5


def test_an_answer_is_played_and_printed(mmtui, tmp_path, monkeypatch):
    played = install_fake_sound(tmp_path, monkeypatch, "works")
    with ScriptedServer(reply(*ANSWER)) as server:
        run = mmtui("ask", "--endpoint", server.url, "--speak", "Hi")
    assert (run.code, run.out, run.err) == (0, "".join(ANSWER) + "\n", "")
    samples, rate = map(int, played.read_text().split())
    assert rate == 24_000 and 3 < samples / rate < 8


@pytest.mark.parametrize(
    ("mode", "message"),
    [("no speaker", "there is no speaker"), ("unplugged", "the speaker is gone")],
)
def test_without_a_speaker_the_answer_is_printed(mmtui, tmp_path, monkeypatch, mode, message):
    install_fake_sound(tmp_path, monkeypatch, mode)
    with ScriptedServer(reply(*ANSWER)) as server:
        run = mmtui("ask", "--endpoint", server.url, "--speak", "--json", "Hi")
    assert run.code == 3 and json.loads(run.out)["answer"] == "".join(ANSWER)
    assert run.err.startswith(f"error: {message}") and len(run.err.splitlines()) == 2


def test_ctrl_c_ends_the_speech_and_leaves_no_file(tmp_path):
    file = tmp_path / "answer.wav"
    with ScriptedServer(hang(to_part("Hello there. "))) as server:
        process = subprocess.Popen(
            [COMMAND, "ask", "--endpoint", server.url, "--speak-to", file, "Hi"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        assert process.stdout.read(5) == b"Hello"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.decode().splitlines()[-1] == "interrupted"
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_the_rest_is_played(tmp_path, monkeypatch):
    install_fake_sound(tmp_path, monkeypatch, "plays long")
    with ScriptedServer(reply("Hello there.")) as server:
        process = subprocess.Popen(
            [COMMAND, "ask", "--endpoint", server.url, "--speak", "Hi"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        assert process.stdout.readline() == b"Hello there.\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err == b"interrupted\n"


def test_a_player_that_is_opened_after_ctrl_c_is_stopped(monkeypatch):
    is_silent = threading.Event()

    class Speaker(FakeSpeaker):
        def open(self, *arguments: Any) -> FakePlayback:
            assert is_silent.wait(60)
            return super().open(*arguments)

    class Synthesizer(FakeSynthesizer):
        def close(self) -> None:
            is_silent.set()

    speaker = Speaker()
    monkeypatch.setattr("mmtui.audio.player.SystemSpeaker", lambda: speaker)
    monkeypatch.setattr("mmtui.pipeline.speech.synthesis.SynthesizerProcess", Synthesizer)
    with pytest.raises(KeyboardInterrupt), read_aloud(Config(), speak=True, speak_to=None):
        raise KeyboardInterrupt
    assert speaker.stopped.is_set() and len(speaker.played) == 1


def test_wrong_files_and_voices_are_refused_before_the_answer(mmtui, tmp_path):
    with ScriptedServer(reply("Hi")) as server:
        ask = ("ask", "--endpoint", server.url, "Hi")
        assert_error(mmtui(*ask, "--speak-to", tmp_path / "a.txt"), 2, "a.txt", "use .wav")
        pictured = mmtui(*ask, "--image", "missing.png", "--speak-to", tmp_path / "a.txt")
        assert_error(pictured, 2, "a.txt", "use .wav")
        run = mmtui(*ask, "--speak-to", tmp_path / "no" / "a.wav")
        assert_error(run, 4, "is not a folder", "create it")
        run = mmtui(*ask, "--speak", env={"MMTUI_VOICE": "loud"})
        assert_error(run, 2, "no voice 'loud'", "heart")
        assert server.completions == []
