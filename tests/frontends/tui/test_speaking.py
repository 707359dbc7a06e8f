"""Recordings: transcribing again, playback, errors and limits."""

import io
import threading
import wave

import numpy as np
import pytest
from user import NO_MICROPHONE, FakeMicrophone, FakeSpeaker, open_chat, run_async

from mmtui.chat.protocol import Failed, Transcribed
from mmtui.errors import MissingError
from mmtui.frontends.tui.widgets.chips import Chip
from mmtui.pipeline import input_files


async def speak(user, text: str) -> None:
    await user.press("f4")
    await user.press("f4")
    await user.receive_event(Transcribed(user.model.number, text))


def labels(user) -> list[str]:
    return [chip.attachment.transcript for chip in user.chat.query(Chip)]


@run_async
async def test_a_recording_is_transcribed_again(tmp_path):
    async with open_chat(tmp_path) as user:
        await user.type("/transcribe", "enter")
        assert "there is no recording here" in user.notices[-1]
        await speak(user, "a bat")
        user.chat.query_one(Chip).focus()
        await user.press("ctrl+e")
        await user.receive_event(Transcribed(user.model.number, "a cat"))
        assert labels(user) == ["a cat"] and user.composer.text == "a bat a cat"
        user.composer.focus()
        await user.press("enter")
        await user.answer("Yes.")
        await user.type("/transcribe", "enter")
        assert len(user.model.clips) == 3 and len(user.model.clips[-1]) == 32_000
        await user.receive_event(Transcribed(user.model.number, "a hat"))
        assert labels(user) == ["a hat"] and "a hat" in user.screen
        await user.type("/transcribe", "enter")
        await user.receive_event(Transcribed(user.model.number, ""))
        assert "no speech found" in user.notices[-1] and labels(user) == ["a hat"]
    async with open_chat(tmp_path, resume="latest") as user:
        assert labels(user) == ["a hat"]


@run_async
async def test_a_recording_whose_transcription_failed_is_kept(tmp_path):
    async with open_chat(tmp_path) as user:
        await user.press("f4")
        await user.press("f4")
        await user.receive_event(Failed(user.model.number, "no speech model", "use smol"))
        assert "no speech model" in user.notices[-1] and labels(user) == [""]
        await user.type("/transcribe", "enter")
        await user.receive_event(Transcribed(user.model.number, "at last"))
        assert labels(user) == ["at last"] and user.composer.text == "at last"


@run_async
async def test_escape_and_quitting_stop_the_playback(tmp_path):
    speaker = FakeSpeaker()
    async with open_chat(tmp_path, speaker=speaker) as user:
        await speak(user, "hello")
        user.chat.query_one(Chip).focus()
        await user.press("enter")
        while not speaker.played:
            await user.settle()
        with wave.open(io.BytesIO(speaker.played[0])) as file:
            assert (file.getframerate(), file.getnframes()) == (16_000, 32_000)
        await user.press("escape")
        assert speaker.stopped.is_set()
        speaker.stopped.clear()
        await user.press("enter")
        while len(speaker.played) < 2:
            await user.settle()
        user.composer.focus()
        await user.press("ctrl+q")
    assert speaker.stopped.is_set()


@run_async
async def test_a_recording_that_is_opened_twice_plays_once(tmp_path, monkeypatch):
    """The second time while the first is still decoded."""
    speaker, may_decode = FakeSpeaker(), threading.Event()
    async with open_chat(tmp_path, speaker=speaker) as user:
        await speak(user, "hello")
        user.chat.query_one(Chip).focus()
        decode = input_files.read_samples
        monkeypatch.setattr(
            input_files, "read_samples", lambda file: may_decode.wait() and decode(file)
        )
        await user.press("enter", "enter")
        may_decode.set()
        while not all(worker.is_finished for worker in user.chat.workers if worker.is_cancelled):
            await user.settle()
        while not speaker.played:
            await user.settle()
        await user.press("escape")
        assert len(speaker.played) == 1 and speaker.stopped.is_set()


@run_async
async def test_the_meter_shows_level_and_time_and_reports_an_unplugged_microphone(tmp_path):
    microphone = FakeMicrophone(seconds=3.0)
    async with open_chat(tmp_path, microphone=microphone) as user:
        await user.press("f4")
        assert "● 12.0 s left  ████████████·" in user.screen
        (recording,) = microphone.recordings
        recording.error = MissingError("the microphone is gone", "plug it in again")
        while not user.notices:
            await user.settle()
        assert "the microphone is gone" in user.notices[-1] and recording.finished
        assert "s left" not in user.screen
        await user.receive_event(Transcribed(user.model.number, "what came before"))
        assert user.composer.text == "what came before"  # nothing is lost


@run_async
async def test_a_transcript_has_no_control_characters(tmp_path):
    async with open_chat(tmp_path) as user:
        await speak(user, "x" * 100_000 + "\x1b]52;c;aGk=\x07[red]hi[/] \u202etxt")
        await user.press("enter")
        assert user.texts[0].endswith("x]52;c;aGk=[red]hi[/] txt")
        assert "[red]hi[/]" in user.screen and "\x1b]52" not in user.screen


@run_async
async def test_a_missing_speaker_is_reported(tmp_path):
    async with open_chat(tmp_path, speaker=FakeSpeaker(NO_MICROPHONE)) as user:
        await speak(user, "hello")
        user.chat.query_one(Chip).focus()
        await user.press("enter")
        while not user.notices:
            await user.settle()
        assert "there is no microphone" in user.notices[-1]


@run_async
async def test_quitting_ends_a_recording_and_keeps_the_draft(tmp_path):
    microphone = FakeMicrophone()
    async with open_chat(tmp_path, microphone=microphone) as user:
        await user.type("half a thou", "f4")
        await user.press("ctrl+q")
    assert microphone.recordings[0].finished
    async with open_chat(tmp_path, resume="latest") as user:
        assert user.composer.text == "half a thou"


@pytest.mark.parametrize("ending", ["wav", "txt"])
def test_recordings_are_picked_from_a_tree(tmp_path, monkeypatch, ending):
    folder = tmp_path / "here"
    folder.mkdir()
    with wave.open(str(folder / f"memo.{ending}"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(np.full(16_000, 3000, "<i2").tobytes())
    monkeypatch.chdir(folder)

    @run_async
    async def pick():
        async with open_chat(tmp_path / "store") as user:
            await user.type("/audio", "enter")
            tree = user.app.screen.query_one("FileTree")
            while not tree.root.is_expanded:
                await user.settle()
            await user.press("down", "enter")
            assert len(user.model.clips) == (ending == "wav")

    pick()


@run_async
async def test_a_transcript_for_a_removed_chip_is_ignored(tmp_path):
    async with open_chat(tmp_path) as user:
        await speak(user, "a bat")
        user.chat.query_one(Chip).focus()
        await user.press("ctrl+e")
        await user.press("delete")
        await user.receive_event(Transcribed(user.model.number, "a cat"))
        assert labels(user) == [] and user.composer.text == "a bat"


@run_async
async def test_nothing_is_sent_while_a_recording_is_transcribed(tmp_path):
    async with open_chat(tmp_path) as user:
        await user.press("f4")
        await user.press("f4")
        await user.type("What", "enter")
        assert "still being read" in user.notices[-1] and user.composer.text == "What"
        await user.receive_event(Transcribed(user.model.number, "is this?"))
        await user.press("enter")
        assert user.texts[0] == "What is this?" and labels(user) == ["is this?"]
