"""Talking hands free in the plain chat."""

from fake_audio import FakeListening

from mmtui.chat.protocol import ChatTurn
from mmtui.errors import MissingError


class Utterances(FakeListening):
    """Hears utterances, then the microphone is gone."""

    def __init__(self, count: int) -> None:
        super().__init__()
        for _ in range(count):
            self.say()

    def take_utterance(self):
        utterance = super().take_utterance()
        if utterance is None:
            self.error = MissingError("the microphone is gone", "plug it in again")
        return utterance


def test_what_is_said_is_answered_aloud_until_the_microphone_fails(chat):
    listening = Utterances(2)
    run = chat(b"", talk=True, listening=listening)
    assert [turns[-1] for turns in run.model.asked] == [ChatTurn("user", "tell a joke")] * 2
    assert run.synthesizer.spoken == ["It is a joke."] * 2
    assert "listening ...\n" in run.err and "transcript: tell a joke" in run.err
    assert "error: the microphone is gone\nhint: plug it in again" in run.err
    assert listening.is_stopped


def test_enter_ends_a_talk_and_a_line_with_text_is_the_next_message(chat):
    listening = FakeListening()
    run = chat("/talk\nHello\n", listening=listening)
    assert run.model.asked == [(ChatTurn("user", "Hello"),)]
    assert listening.is_stopped and run.synthesizer.spoken == []


def test_noises_are_not_sent(chat):
    run = chat(b"", talk=True, listening=Utterances(1), transcript="")
    assert run.model.asked == [] and len(run.model.clips) == 1
