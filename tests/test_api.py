"""The Python API, with a small model and with the default one."""

import asyncio
import json
import subprocess
import sys
import wave

import numpy as np
import pytest
from PIL import Image as PillowImage

import mmtui
from mmtui.errors import InputError, MissingError, NoSpeechError, UsageError


@pytest.fixture(scope="module")
def model(tiny) -> mmtui.Model:
    return mmtui.load(str(tiny.projector.parent), engine="torch")


def test_a_stream_yields_pieces_and_ends_with_the_result_of_ask_json(model, cat):
    stream = model.reply(["What is this?", mmtui.Image(cat)], max_tokens=8)
    with pytest.raises(UsageError, match="has not ended"):
        _ = stream.result
    pieces = list(stream)
    document = json.loads(json.dumps(stream.result.to_dict()))
    assert "".join(pieces) == document["answer"] == stream.result.text
    assert document["images"][0]["path"] == str(cat)
    assert document["usage"]["completion_tokens"] <= 8
    assert stream.result.stop_reason in ("stop", "length")


def test_a_picture_may_be_a_path_bytes_a_file_an_image_or_an_array(model, cat):
    decoded = PillowImage.open(cat)
    sources = [str(cat), cat, cat.read_bytes(), cat.open("rb"), decoded, np.asarray(decoded)]
    said = {
        model.reply([mmtui.Image(source), "What is this?"], max_tokens=8).text()
        for source in sources
    }
    assert len(said) == 1


def test_anything_but_a_picture_is_refused_by_name(model, tmp_path):
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(InputError, match=r"notes\.txt"):
        model.reply(["?", mmtui.Image(tmp_path / "notes.txt")])
    with pytest.raises(InputError, match="diagram: an array of float64"):
        model.reply(["?", mmtui.Image(np.zeros((2, 2)), name="diagram")])


def test_a_conversation_is_continued_from_the_cache(model):
    turns = [
        mmtui.Turn("system", "Be brief. " * 20),
        mmtui.Turn("user", "What is in this picture?"),
    ]
    first = model.reply(turns, max_tokens=6)
    turns += [mmtui.Turn("assistant", first.text()), mmtui.Turn("user", "And a dog?")]
    second = model.reply(turns, max_tokens=6)
    second.text()
    assert second.result.reply.cached_tokens > first.result.reply.prompt_tokens // 2


def test_a_reply_can_be_cancelled_and_is_closed_by_the_next_one(model):
    stream = model.reply("What is in this picture?", max_tokens=500)
    first = next(stream)
    stream.cancel()
    assert list(stream) == [] or first
    assert stream.result.stop_reason == "cancelled"
    left = model.reply("Go on", max_tokens=500)
    next(left)
    assert model.reply("What is in this picture?", max_tokens=3).text() is not None
    assert list(left) == []
    with pytest.raises(UsageError):
        _ = left.result


def test_replies_can_be_read_with_async_for(model):
    async def read() -> str:
        return "".join([piece async for piece in model.reply("Go on", max_tokens=8)])

    assert asyncio.run(read()) == model.reply("Go on", max_tokens=8).text()


@pytest.mark.parametrize("conversation", [[], ["words", mmtui.Turn("user", "words")]])
def test_an_invalid_conversation_is_refused(model, conversation):
    with pytest.raises(UsageError, match="a conversation is"):
        model.reply(conversation)


@pytest.mark.parametrize("top_p", [0.0, -0.5, 1.5, float("nan")])
def test_an_invalid_top_p_is_refused(model, top_p):
    with pytest.raises(UsageError, match="top_p"):
        model.reply("What is this?", temperature=1.0, top_p=top_p)


def test_unknown_models_and_pictures_for_text_models_are_refused(cat):
    with pytest.raises(UsageError, match="no model gpt5"):
        mmtui.load("gpt5")
    with pytest.raises(MissingError, match="can't see"):
        mmtui.load("phi2", preload=False).reply([mmtui.Image(cat), "?"])


def test_sound_is_transcribed(smol, shared, model):
    clip = shared / "speech" / "LJ001-0012.wav"
    with wave.open(str(clip)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    expected = mmtui.transcribe(clip, "smol")
    assert len(expected.text.split()) > 3
    hearing = mmtui.load("smol", preload=False)
    assert hearing.transcribe(clip.read_bytes()).text == expected.text
    stereo = np.stack([samples, samples]).astype(np.float32)
    assert hearing.transcribe(mmtui.Sound(stereo, rate)).text == expected.text
    with pytest.raises(NoSpeechError):
        hearing.reply([mmtui.Sound(np.zeros(8000), 16000), "?"])
    with pytest.raises(UsageError, match="rate"):
        mmtui.Sound(samples).recording  # noqa: B018


def test_importing_mmtui_imports_nothing_heavy():
    code = "import sys, mmtui; print([m for m in ('torch', 'numpy', 'PIL') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
