"""Talking hands free in the chat."""

from fake_audio import FakeSpeaker, FakeSynthesizer
from user import FakeMicrophone, User, open_chat, run_async

from mmtui.chat.protocol import Failed, Transcribed
from mmtui.errors import MissingError


async def wait_until(user: User, condition) -> None:
    while not condition():
        await user.settle()


async def say(user: User, microphone: FakeMicrophone, text: str) -> None:
    """Say something, and have it transcribed."""
    count = len(user.model.clips)
    microphone.listenings[-1].say()
    await wait_until(user, lambda: len(user.model.clips) > count)
    await user.receive_event(Transcribed(user.model.number, text))


@run_async
async def test_what_is_said_is_sent_and_the_answer_is_read_aloud(tmp_path):
    microphone, speaker, synthesizer = FakeMicrophone(), FakeSpeaker(), FakeSynthesizer()
    async with open_chat(
        tmp_path, microphone=microphone, speaker=speaker, synthesizer=synthesizer, talk=True
    ) as user:
        await wait_until(user, lambda: "● listening" in user.screen)
        assert user.model.speech_loads and synthesizer.starts
        assert "·  listening" in user.screen
        await user.type("a draft")
        (listening,) = microphone.listenings
        listening.is_hearing = True
        await wait_until(user, lambda: "● hearing" in user.screen)
        listening.is_hearing = False
        await say(user, microphone, "Hello there.")
        await wait_until(user, lambda: user.model.asked)
        assert "● thinking" in user.screen and user.composer.text == "a draft"
        assert user.texts[0] == "Hello there."
        await user.answer("Good morning.")
        await wait_until(user, lambda: "● speaking" in user.screen)
        await wait_until(user, lambda: speaker.played and listening.is_muted)
        assert synthesizer.spoken == ["Good morning."]
        speaker.stopped.set()
        await wait_until(user, lambda: "● listening" in user.screen and not listening.is_muted)
        await user.press("escape")
        assert listening.is_stopped and "● listening" not in user.screen
        await user.type("x", "enter")
        await user.answer("Not read.")
        assert synthesizer.spoken == ["Good morning."]
    async with open_chat(tmp_path, resume="latest") as user:
        (voice,) = user.messages[0].message.attachments
        assert voice.transcript == "Hello there."


@run_async
async def test_escape_stops_the_answer_first_then_the_talk(tmp_path):
    microphone, speaker = FakeMicrophone(), FakeSpeaker()
    async with open_chat(tmp_path, microphone=microphone, speaker=speaker) as user:
        await user.press("alt+t")
        await say(user, microphone, "Hello.")
        await wait_until(user, lambda: user.model.asked)
        await user.answer("One is here. Two", stop=None)
        await wait_until(user, lambda: "● speaking" in user.screen)
        await user.press("escape")
        assert speaker.stopped.is_set() and user.model.cancelled
        await wait_until(user, lambda: "● listening" in user.screen)
        await user.press("ctrl+c")
        assert microphone.listenings[0].is_stopped


@run_async
async def test_speaking_over_an_answer_stops_it_if_the_settings_say_so(tmp_path):
    microphone, speaker = FakeMicrophone(), FakeSpeaker()
    async with open_chat(
        tmp_path, microphone=microphone, speaker=speaker, barge_in=True, talk=True
    ) as user:
        await wait_until(user, lambda: microphone.listenings)
        await say(user, microphone, "Hello.")
        await wait_until(user, lambda: user.model.asked)
        await user.answer("One is here. Two", stop=None)
        await wait_until(user, lambda: "● speaking" in user.screen)
        microphone.listenings[0].is_hearing = True
        await wait_until(user, lambda: "● hearing" in user.screen)
        assert speaker.stopped.is_set() and user.model.cancelled


@run_async
async def test_noises_and_failures_are_not_sent(tmp_path):
    microphone = FakeMicrophone()
    async with open_chat(tmp_path, microphone=microphone) as user:
        await user.type("/talk", "enter")
        await say(user, microphone, "")
        await wait_until(user, lambda: "● listening" in user.screen)
        microphone.listenings[0].say()
        await wait_until(user, lambda: len(user.model.clips) == 2)
        await user.receive_event(Failed(user.model.number, "no speech model", "use smol"))
        await wait_until(user, lambda: "● listening" in user.screen)
        assert "no speech model" in user.notices[-1] and user.model.asked == []


@run_async
async def test_an_unplugged_microphone_ends_the_talk_with_one_notice(tmp_path):
    microphone = FakeMicrophone()
    async with open_chat(tmp_path, microphone=microphone) as user:
        await user.type("/talk", "enter")
        microphone.listenings[0].error = MissingError("the microphone is gone", "plug it in")
        await wait_until(user, lambda: user.notices)
        assert "the microphone is gone" in user.notices[-1]
        await wait_until(user, lambda: "● " not in user.screen)
        await user.press("f4")
        assert "s left" in user.screen  # push to talk


@run_async
async def test_recording_ends_a_talk_and_a_browser_has_none(tmp_path, monkeypatch):
    microphone = FakeMicrophone()
    async with open_chat(tmp_path, microphone=microphone) as user:
        await user.type("/talk", "enter")
        await user.press("f4")
        assert microphone.listenings[0].is_stopped and "s left" in user.screen
        await user.press("escape")
        monkeypatch.setattr(type(user.app), "is_web", True)
        await user.type("/talk", "enter")
        assert "a browser can't" in user.notices[-1] and len(microphone.listenings) == 1


@run_async
async def test_the_status_bar_shows_the_state_of_the_talk(tmp_path):
    microphone, speaker = FakeMicrophone(), FakeSpeaker()
    async with open_chat(tmp_path, microphone=microphone, speaker=speaker, talk=True) as user:
        await wait_until(user, lambda: "·  listening" in user.screen)
        microphone.listenings[0].is_hearing = True
        await wait_until(user, lambda: "·  hearing" in user.screen)
        microphone.listenings[0].is_hearing = False
        microphone.listenings[0].say()
        await wait_until(user, lambda: "·  transcribing" in user.screen)
        await user.receive_event(Transcribed(user.model.number, "Hello."))
        await wait_until(user, lambda: "·  thinking" in user.screen)
        await user.answer("Good morning.")
        await wait_until(user, lambda: "·  speaking" in user.screen)
        await user.press("escape", "escape")
        assert "·  listening" not in user.screen and "·  speaking" not in user.screen
