"""Answers read aloud in the plain chat."""

import os
import signal

from fake_audio import FakePlayback, FakeSpeaker
from plain_user import FakeRecording

from mmtui.errors import MissingError


def test_an_answer_is_read_aloud_on_request(chat):
    run = chat("Hello\n/speak\n/speak once\n")
    assert run.synthesizer.spoken == ["It is a joke."] * 2 and len(run.speaker.played) == 2


def test_all_answers_are_read_aloud_from_then_on(chat):
    run = chat("One\n/speak always\nTwo\n/speak never\nThree\n")
    assert run.synthesizer.spoken == ["It is a joke."] and run.synthesizer.starts >= 1
    assert "answers are always read aloud\n" in run.err
    assert "answers are not read aloud\n" in run.err


def test_voice_and_speaker_are_set(chat):
    run = chat("/voice speaking_rate=1.5 volume=0.5\n/speaker Fake Speaker\nHello\n/speak\n")
    assert "voice=heart speaking_rate=1.5 volume=0.5\n* Fake Speaker\n" in run.err
    assert run.synthesizer.voices == [("heart", 1.5)]
    assert run.speaker.devices_used == ["Fake Speaker"] and run.speaker.playbacks[0].volume == 0.5


def test_errors_are_one_line_and_the_chat_continues(chat):
    run = chat("/speak\n/speak loud\n/voice voice=loud\n/voice tone=3\nHello\n")
    assert "there is no answer yet" in run.err
    assert "/speak takes once or always or never, not loud" in run.err
    assert (
        "there is no voice 'loud'" in run.err and "'tone' is not a setting of the voice" in run.err
    )
    missing = FakeSpeaker(MissingError("there is no speaker", "plug one in"))
    run = chat("Hello\n/speak\nAgain\n", speaker=missing, recording=FakeRecording())
    assert "error: there is no speaker\nhint: plug one in" in run.err
    assert len(run.model.asked) == 2


class InterruptedSpeaker(FakeSpeaker):
    """Never ends; each time that it plays, something is typed, or else Ctrl+C is pressed."""

    def __init__(self, *typed: str) -> None:
        super().__init__()
        self._typed = list(typed)

    def open(self, rate: int, device: str | None = None, volume: float = 1.0) -> FakePlayback:
        playback = super().open(rate, device, volume)
        if self._typed:
            os.write(self.keyboard, self._typed.pop(0).encode())
        else:
            signal.raise_signal(signal.SIGINT)
        return playback


def test_ctrl_c_stops_what_is_read_aloud_and_the_chat_goes_on(chat):
    speaker = InterruptedSpeaker()
    run = chat("Hello\n/speak\nAgain\n", speaker=speaker)
    assert speaker.stopped.is_set() and len(speaker.playbacks) == 1
    assert [turns[-1].text for turns in run.model.asked] == ["Hello", "Again"]


def test_enter_stops_what_is_read_aloud_in_a_terminal(chat):
    speaker = InterruptedSpeaker("\n/quit\n")
    run = chat("/speak always\nHello\n", speaker=speaker, terminal=True)
    assert speaker.stopped.is_set() and len(run.model.asked) == 1


def test_a_line_stops_what_is_read_aloud_and_is_the_next_message(chat):
    speaker = InterruptedSpeaker("Next\n", "/quit\n")
    run = chat("/speak always\nHello\n", speaker=speaker, terminal=True)
    assert [turns[-1].text for turns in run.model.asked] == ["Hello", "Next"]
    assert len(speaker.playbacks) == 2
