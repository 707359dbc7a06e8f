"""Answers read aloud in the plain chat."""

from fake_audio import FakeSpeaker
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
