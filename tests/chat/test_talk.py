"""The states of a talk, half and full duplex."""

import pytest
from fake_audio import FakeListening

from mmtui.chat.talk import Talk
from mmtui.errors import MissingError


class FakeChat:
    """Records what a talk asks for."""

    def __init__(self) -> None:
        self.is_thinking = self.is_speaking = self.is_over = False
        self.level, self.sent, self.interruptions = 0.75, 0, 0

    def send_speech(self, clip) -> None:
        self.sent += 1
        self.is_thinking = True

    def interrupt(self) -> None:
        self.interruptions += 1
        self.is_thinking = self.is_speaking = False

    def stop(self) -> None:
        self.is_over = True


@pytest.fixture(params=[False, True], ids=["half duplex", "full duplex"])
def can_interrupt(request) -> bool:
    return request.param


def test_a_talk_listens_answers_and_listens_again(can_interrupt):
    listening, chat = FakeListening(), FakeChat()
    listening.is_open = False
    talk = Talk(listening, chat, can_interrupt=can_interrupt)
    assert talk.state == "starting"
    listening.is_open = True
    assert talk.state == "listening" and talk.level == 0.25
    listening.is_hearing = True
    talk.update()
    assert talk.state == "hearing" and chat.sent == 0
    listening.is_hearing = False
    listening.say()
    talk.update()
    assert chat.sent == 1 and talk.state == "thinking"
    talk.update()
    assert listening.is_muted != can_interrupt
    chat.is_speaking = True
    assert talk.state == "speaking" and talk.level == 0.75
    chat.is_speaking = chat.is_thinking = False
    talk.update()
    assert talk.state == "listening" and not listening.is_muted


def test_silence_is_not_sent():
    listening, chat = FakeListening(), FakeChat()
    talk = Talk(listening, chat, can_interrupt=False)
    for _ in range(100):
        talk.update()
    assert chat.sent == 0 and talk.state == "listening"


def test_speaking_over_an_answer_stops_it_with_full_duplex_only(can_interrupt):
    listening, chat = FakeListening(), FakeChat()
    talk = Talk(listening, chat, can_interrupt=can_interrupt)
    chat.is_speaking = listening.is_hearing = True
    talk.update()
    assert chat.interruptions == can_interrupt
    listening.is_hearing = False
    listening.say()
    talk.update()
    assert chat.sent == can_interrupt


def test_a_microphone_that_fails_ends_the_talk():
    listening, chat = FakeListening(), FakeChat()
    talk = Talk(listening, chat, can_interrupt=False)
    listening.error = MissingError("the microphone is gone", "plug it in again")
    with pytest.raises(MissingError, match="gone"):
        talk.update()
    assert chat.is_over
    talk.stop()
    assert listening.is_stopped
