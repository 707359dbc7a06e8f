"""The text in pictures is in the prompt of a model that reads, or that is told to."""

import dataclasses
import hashlib

import pytest
from PIL import Image, ImageDraw, ImageFont

from mmtui.errors import MissingError
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.picture_texts import PictureTexts
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.reply import Reply
from mmtui.pipeline.vision.images import Picture


def draw_sign(text: str) -> Picture:
    image = Image.new("RGB", (400, 200), "white")
    ImageDraw.Draw(image).text((40, 70), text, "black", ImageFont.load_default(40))
    return Picture(hashlib.sha256(image.tobytes()).hexdigest(), image)


def ask(assistant: Assistant, *content: str | Picture) -> Reply:
    *_, reply = assistant.reply([Turn("user", content)], max_tokens=2)
    return reply


def test_a_prompt_with_text_is_longer(tiny):
    sign = draw_sign("NO ENTRY")
    without = ask(Assistant(tiny, read=False), sign, "What?").prompt_tokens
    with_text = ask(Assistant(tiny, read=True), sign, "What?").prompt_tokens
    assert with_text > without + len("text:")


def test_a_model_reads_if_it_was_trained_to(tiny):
    untrained, trained = (
        dataclasses.replace(
            tiny,
            spec=dataclasses.replace(
                tiny.spec, vision=dataclasses.replace(tiny.spec.vision, read=read)
            ),
        )
        for read in (False, True)
    )
    sign = draw_sign("NO ENTRY")
    expected = ask(Assistant(untrained, read=True), sign, "What?").prompt_tokens
    assert ask(Assistant(trained), sign, "What?").prompt_tokens == expected
    without = ask(Assistant(untrained), sign, "What?").prompt_tokens
    assert ask(Assistant(trained, read=False), sign, "What?").prompt_tokens == without


def test_a_picture_is_read_once(tiny):
    steps: list[str] = []
    assistant = Assistant(tiny, lambda step, *_: steps.append(step), read=True)
    sign = draw_sign("NO ENTRY")
    ask(assistant, sign, "What?")
    assert assistant.has_encoded(sign.sha256)
    ask(assistant, dataclasses.replace(sign, image=Image.new("RGB", (1, 1))), "What else?")
    assert steps.count("reading the text in pictures") <= 2  # its start and its end


def test_a_model_without_vision_gets_only_the_text(tiny):
    blind = dataclasses.replace(tiny, spec=dataclasses.replace(tiny.spec, vision=None))
    sign = draw_sign("NO ENTRY")
    with pytest.raises(MissingError, match="no vision tower"):
        ask(Assistant(blind), sign, "What?")
    assistant = Assistant(blind, read=True)
    written = 'picture; text: "NO ENTRY"'
    reply = ask(assistant, sign, "What?")
    assert reply.prompt_tokens == ask(Assistant(blind), written, "What?").prompt_tokens
    assert assistant.note and "only the text" in assistant.note
    assert assistant.has_encoded(sign.sha256)
    assert not assistant.has_encoded("other")


def test_the_text_of_the_newest_pictures_is_kept(monkeypatch):
    monkeypatch.setattr("mmtui.pipeline.picture_texts.MAX_PICTURES", 2)
    texts = PictureTexts()
    pictures = [draw_sign(text) for text in ("ONE", "TWO", "THREE")]
    for picture in pictures:
        texts.start([picture])
    assert pictures[0].sha256 not in texts
    assert [texts.get_text(picture.sha256) for picture in pictures[1:]] == ["TWO", "THREE"]
