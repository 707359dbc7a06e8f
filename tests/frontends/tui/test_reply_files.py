"""Pictures and sounds in answers on the screen."""

import io
import wave

import pytest
from fake_audio import FakeSpeaker, FakeSynthesizer
from reply_media import RATE, make_picture, make_samples, make_wav
from user import User, open_chat, run_async

from mmtui.chat.protocol import FileLeftOut, FileReceived, Piece
from mmtui.frontends.tui.screens.dialogs import TextDialog
from mmtui.frontends.tui.screens.picture import PictureScreen
from mmtui.frontends.tui.screens.picture_text import PictureTextScreen
from mmtui.frontends.tui.widgets.chips import Chip

SOUND = make_wav(make_samples())


async def wait_until(user: User, condition) -> None:
    while not condition():
        await user.settle()


async def receive_picture(user: User) -> None:
    number = user.model.number
    await user.receive_event(
        FileReceived(number, "image", "picture.png", make_picture(), "40 x 30")
    )


async def answer_with_sound(user: User, *words: str) -> None:
    """Ask, and receive an answer that is spoken."""
    await user.type("Hi", "enter")
    for word in words:
        await user.receive_event(Piece(user.model.number, word, is_spoken=True))
    await user.receive_event(FileReceived(user.model.number, "audio", "sound.wav", SOUND, "1.0 s"))
    await user.answer()


def get_frames(played: bytes) -> tuple[int, bytes]:
    with wave.open(io.BytesIO(played)) as file:
        return file.getframerate(), file.readframes(file.getnframes())


@run_async
async def test_a_picture_is_a_chip_below_the_answer_that_is_opened_and_saved(
    store, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    async with open_chat(store) as user:
        await user.type("/save", "enter")
        assert "no answer here has a picture" in user.notices[-1]
        await user.type("Draw a cat", "enter")
        user.stream_piece("Here is ")
        await receive_picture(user)
        await receive_picture(user)
        await user.answer("a cat.")
        lines = user.screen.splitlines()
        text = next(at for at, line in enumerate(lines) if "Here is a cat." in line)
        assert "picture.png" in "\n".join(lines[text:]) and "picture-2.png" in user.screen
        user.chat.query(Chip).first().focus()
        await user.press("enter")
        assert isinstance(user.app.screen, PictureScreen)
        await user.press("s")
        assert isinstance(user.app.screen, TextDialog)
        await user.press("escape", "escape", "ctrl+x")
        assert isinstance(user.app.screen, PictureTextScreen)
        await user.press("escape", "ctrl+s")
        assert isinstance(user.app.screen, TextDialog)
        await user.type("/out", "enter")
        assert "saved as" in user.notices[-1]
        assert (tmp_path / "out" / "picture.png").read_bytes() == make_picture()
        user.composer.focus()
        await user.type(f"/save {tmp_path / 'out'}", "enter")
        names = sorted(file.name for file in (tmp_path / "out").iterdir())
        assert names == ["picture-2-2.png", "picture-2.png", "picture.png"]
        await user.type("Thanks", "enter")
        assert [turn.pictures for turn in user.model.asked[-1]] == [(), (), ()]
    async with open_chat(store, resume="latest") as user:
        assert [chip.attachment.name for chip in user.chat.query(Chip)] == [
            "picture.png", "picture-2.png",
        ]  # fmt: skip


@run_async
async def test_a_file_that_is_left_out_is_one_notice(store):
    async with open_chat(store) as user:
        await user.type("Draw", "enter")
        await user.receive_event(FileLeftOut(user.model.number, "a picture is bad", "try again"))
        await user.answer("A cat.")
        assert user.notices == ["a picture is bad\ntry again"] and "A cat." in user.screen


@run_async
async def test_a_sound_is_played_on_request_instead_of_the_text(store):
    speaker, synthesizer = FakeSpeaker(), FakeSynthesizer()
    async with open_chat(store, speaker=speaker, synthesizer=synthesizer) as user:
        await user.type("/play", "enter")
        assert "there is no sound in this conversation" in user.notices[-1]
        await answer_with_sound(user, "Good ", "morning.")
        assert user.texts[-1] == "Good morning." and "♪ sound.wav" in user.screen
        assert speaker.playbacks == []  # nothing is played unasked
        for keys in (["f12"], ["/play", "enter"]):
            count = len(speaker.played)
            await (user.press(*keys) if len(keys) == 1 else user.type(*keys))
            await wait_until(user, lambda count=count: len(speaker.played) > count)
            assert get_frames(speaker.played[-1]) == (RATE, make_samples())
            state = "·  reading aloud" if keys == ["f12"] else "·  playing"
            await wait_until(user, lambda state=state: state in user.screen)
            await user.press("escape")
            assert speaker.stopped.is_set()
            await wait_until(user, lambda state=state: state not in user.screen)
        assert synthesizer.spoken == [] and synthesizer.starts == 0
        await user.type("/transcribe", "enter")
        assert "there is no recording here" in user.notices[-1]


@run_async
async def test_a_sound_is_played_at_once_if_answers_are_read_aloud(store):
    speaker, synthesizer = FakeSpeaker(), FakeSynthesizer()
    async with open_chat(store, speaker=speaker, synthesizer=synthesizer, speak="always") as user:
        await answer_with_sound(user, "Good morning. ", "It is nine.")
        await wait_until(user, lambda: speaker.played)
        assert get_frames(speaker.played[-1]) == (RATE, make_samples())
        assert synthesizer.spoken == []


@run_async
async def test_a_spoken_answer_without_its_sound_is_read_aloud(store):
    speaker, synthesizer = FakeSpeaker(), FakeSynthesizer()
    async with open_chat(store, speaker=speaker, synthesizer=synthesizer, speak="always") as user:
        await user.type("Hi", "enter")
        await user.receive_event(Piece(user.model.number, "Good morning.", is_spoken=True))
        await user.receive_event(FileLeftOut(user.model.number, "the sound is damaged"))
        await user.answer()
        await wait_until(user, lambda: speaker.played)
        assert synthesizer.spoken == ["Good morning."]


@pytest.mark.parametrize("name", ["report.md", "a cat.png"])
def test_a_file_is_attached_at_the_start(store, cat, tmp_path, name):
    (tmp_path / "report.md").write_text("# Report\nThe trip starts on Friday.\n")

    @run_async
    async def check() -> None:
        async with open_chat(store, files=(cat.parent / name,)) as user:
            await wait_until(user, lambda: name in user.screen)
            await user.press("enter")
            await user.load_model()
            await wait_until(user, lambda: user.model.asked)

    check()
