"""Training reads the text in pictures once, if the model uses it."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont
from transformers import AutoTokenizer

from mmtrain.data import texts
from mmtrain.data.dataset import Example
from mmtrain.data.dialogue_dataset import DialogueDataset, to_turns
from mmtrain.data.features import FeatureStore
from mmtrain.data.texts import TextStore
from mmtui.pipeline.assets.fetch import ignore_progress
from mmtui.pipeline.prompt import ChatFormat
from mmtui.pipeline.vision.tower import VisionTower


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, Path]:
    """Draw a picture with text and one without; the keys are the text."""
    files = {}
    for text in ("BAKERY", ""):
        image = Image.new("RGB", (224, 224), "white")
        ImageDraw.Draw(image).text((40, 90), text, "black", ImageFont.load_default(36))
        files[text] = tmp_path / f"sign{len(files)}.png"
        image.save(files[text])
    return files


@pytest.fixture
def store(cache, tiny_vision, tiny_clip) -> FeatureStore:
    spec = replace(tiny_vision, read=True)
    return FeatureStore(spec, lambda: VisionTower(spec, tiny_clip), ignore_progress)


def test_the_text_of_a_picture_is_in_its_prompt(store, pictures, tiny_llama):
    assert store.ensure(pictures.values(), ("plain", "mirrored")) == {}
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    for view in ("plain", "mirrored"):
        for text, expected in (("BAKERY", '"BAKERY"'), ("", "none")):
            turns = to_turns([("user", (pictures[text], "What?"))], store, view)
            prompt = ChatFormat(tokenizer).encode(turns)
            ids = [part for part in prompt if isinstance(part, int)]
            assert f" text: {expected}\nWhat?" in tokenizer.decode(ids)


def test_a_model_that_does_not_read_gets_no_text(cache, tiny_vision, tiny_clip, pictures):
    tower = VisionTower(tiny_vision, tiny_clip)
    store = FeatureStore(tiny_vision, lambda: tower, ignore_progress)
    store.ensure(pictures.values())
    (turn,) = to_turns([("user", (pictures["BAKERY"],))], store)
    assert turn.content[0].text is None


def test_reading_does_not_change_the_features_in_the_cache(store, tiny_vision, pictures):
    store.ensure(pictures.values())
    again = FeatureStore(tiny_vision, lambda: pytest.fail("the tower was loaded"), ignore_progress)
    again.ensure(pictures.values())


def test_the_text_is_read_once(store, tiny_vision, pictures, monkeypatch):
    store.ensure(pictures.values())
    monkeypatch.setattr(texts, "TextReader", lambda **_: pytest.fail("the reader was loaded"))
    again = FeatureStore(replace(tiny_vision, read=True), pytest.fail, ignore_progress)
    again.ensure(pictures.values())
    assert again.get_text(again.get_key(pictures["BAKERY"])) == "BAKERY"


def test_a_damaged_file_of_the_cache_is_read_again(cache, pictures):
    TextStore(ignore_progress).ensure({"a": pictures["BAKERY"]})
    (file,) = (cache / "texts").rglob("*.json")
    file.write_text(file.read_text()[:5])
    store = TextStore(ignore_progress)
    assert "a" not in store
    steps: list[tuple[str, int, int]] = []
    store = TextStore(lambda *step: steps.append(step))
    store.ensure({"a": pictures["BAKERY"]})
    assert store["a"] == "BAKERY"
    assert steps[-1][1:] == (1, 1)


def test_a_row_has_the_text(store, tiny_llama, tiny_vision, pictures):
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    picture = pictures["BAKERY"]
    example = Example("sign", (("user", (picture, "What?")), ("assistant", ("BAKERY",))))
    shape = (tiny_vision.patches, tiny_vision.width)
    data = DialogueDataset([example], ChatFormat(tokenizer), store, shape, max_length=400)
    ids = [part for part in data.batch([0]).sequences[0] if isinstance(part, int)]
    assert ' text: "BAKERY"\nWhat?' in tokenizer.decode(ids)


def test_a_file_that_could_not_be_read_is_read_again(cache, pictures, tmp_path):
    """The cache is by content, so a file that is gone must not leave an empty text in it."""
    missing = {"sha256": tmp_path / "moved.png"}
    store = TextStore(ignore_progress)
    store.ensure(missing)
    assert store["sha256"] == ""
    pictures["BAKERY"].rename(missing["sha256"])
    again = TextStore(ignore_progress)
    again.ensure(missing)
    assert again["sha256"] == "BAKERY"
