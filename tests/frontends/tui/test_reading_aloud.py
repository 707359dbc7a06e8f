"""Answers read aloud in the chat: /speak, its key, pausing, stopping, and errors."""

from fake_audio import FakeSpeaker, FakeSynthesizer
from user import User, open_chat, run_async

from mmtui.errors import MissingError


async def ask(user: User, *pieces: str, stop: str | None = "stop") -> None:
    await user.type("Hi", "enter")
    await user.answer(*pieces, stop=stop)


async def wait_until(user: User, condition) -> None:
    while not condition():
        await user.settle()


@run_async
async def test_a_key_reads_the_answer_then_pauses_and_resumes(tmp_path):
    speaker, synthesizer = FakeSpeaker(), FakeSynthesizer()
    async with open_chat(tmp_path, speaker=speaker, synthesizer=synthesizer) as user:
        await user.press("f12")
        assert "there is no answer yet" in user.notices[-1]
        await ask(user, "The **sky** is blue. It is.")
        assert synthesizer.spoken == []  # nothing is read unasked
        await user.press("f12")
        await wait_until(user, lambda: speaker.played)
        assert synthesizer.spoken == ["The sky is blue.", "It is."]
        assert "♪ reading aloud" in user.screen and "·  reading aloud" in user.screen
        await user.press("f12")
        assert speaker.playbacks[0].is_paused and "♪ reading paused" in user.screen
        await user.press("f12")
        assert not speaker.playbacks[0].is_paused and "♪ reading aloud" in user.screen
        speaker.stopped.set()  # the end
        await wait_until(user, lambda: "reading" not in user.screen)
        await user.press("f12")
        await wait_until(user, lambda: len(speaker.played) == 2)


@run_async
async def test_answers_are_read_while_they_are_written(tmp_path):
    speaker, synthesizer = FakeSpeaker(), FakeSynthesizer()
    async with open_chat(tmp_path, speaker=speaker, synthesizer=synthesizer) as user:
        await user.type("/speak always", "enter")
        assert "answers are always read aloud" in user.notices[-1] and synthesizer.starts
        await ask(user, "One is here. Two", stop=None)
        await wait_until(user, lambda: synthesizer.spoken)
        assert synthesizer.spoken == ["One is here."] and speaker.played == []
        await user.answer(" is there.")
        await wait_until(user, lambda: speaker.played)
        assert synthesizer.spoken == ["One is here.", "Two is there."]
        await user.press("escape")
        assert speaker.stopped.is_set() and "reading" not in user.screen
        await user.type("/speak never", "enter")
        await ask(user, "Three.")
        assert len(synthesizer.spoken) == 2
    assert synthesizer.closed


@run_async
async def test_escape_stops_an_answer_together_with_its_reading(tmp_path):
    speaker, synthesizer = FakeSpeaker(), FakeSynthesizer()
    async with open_chat(
        tmp_path, speaker=speaker, synthesizer=synthesizer, speak="always"
    ) as user:
        await ask(user, "One is here. Two", stop=None)
        await wait_until(user, lambda: synthesizer.spoken)
        await user.press("escape")
        assert speaker.stopped.is_set() and user.model.cancelled == [user.model.number]
        assert user.texts[-1] == "One is here. Two"
        await user.press("f7")  # the rest of the answer
        await user.answer(" is there.")
        await wait_until(user, lambda: len(synthesizer.spoken) == 2)
        assert synthesizer.spoken == ["One is here.", "is there."]


@run_async
async def test_voice_and_speaker_are_chosen(tmp_path):
    speaker, synthesizer = FakeSpeaker(), FakeSynthesizer()
    async with open_chat(tmp_path, speaker=speaker, synthesizer=synthesizer) as user:
        await ask(user, "One.")
        await user.type("/speaker", "enter")
        await wait_until(user, lambda: "Fake Speaker" in user.screen)
        await user.press("down", "enter")
        await user.type("/voice speaking_rate=2 volume=0.5", "enter")
        assert "voice=heart speaking_rate=2.0 volume=0.5" in user.notices[-1]
        await user.press("f12")
        await wait_until(user, lambda: speaker.played)
        assert speaker.devices_used == ["Fake Speaker"] and speaker.playbacks[0].volume == 0.5
        assert synthesizer.voices == [("heart", 2.0)]
        await user.type("/voice volume=1", "enter")
        assert speaker.playbacks[0].volume == 1
        await user.type("/voice voice=loud", "enter")
        assert "there is no voice 'loud'" in user.notices[-1]
        await user.type("/voice speaking_rate=9", "enter")
        assert "speaking_rate should be less than or equal to 2" in user.notices[-1]


@run_async
async def test_a_missing_speaker_or_voice_is_one_notice(tmp_path):
    for speaker, synthesizer in (
        (FakeSpeaker(MissingError("it is gone", "plug it in")), None),
        (None, FakeSynthesizer(MissingError("it is gone", "plug it in"))),
    ):
        async with open_chat(tmp_path, speaker=speaker, synthesizer=synthesizer) as user:
            await ask(user, "The sky is blue.")
            await user.press("f12")
            await wait_until(user, lambda user=user: user.notices)
            assert "it is gone" in user.notices[-1] and "The sky is blue." in user.screen
            await wait_until(user, lambda user=user: "reading" not in user.screen)


@run_async
async def test_a_browser_does_not_read_aloud(tmp_path, monkeypatch):
    speaker = FakeSpeaker()
    async with open_chat(tmp_path, speaker=speaker, speak="always") as user:
        monkeypatch.setattr(type(user.app), "is_web", True)
        await ask(user, "The sky is blue.")
        await user.press("f12")
        assert "a browser can't read answers aloud" in user.notices[-1]
        await user.type("/speak always", "enter")
        assert "a browser can't read" in user.notices[-1] and speaker.playbacks == []


@run_async
async def test_a_recording_and_an_answer_are_not_played_at_once(tmp_path):
    speaker = FakeSpeaker()
    async with open_chat(tmp_path, speaker=speaker) as user:
        await ask(user, "The sky is blue.")
        await user.press("f12")
        await wait_until(user, lambda: speaker.played)
        await user.press("f4")
        assert speaker.stopped.is_set() and "recording" in user.screen
