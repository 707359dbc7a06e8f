"""LLaVA checkpoints in Hugging Face's layout answer as transformers' own class does."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llava_answers import TOKENS, Ours, assert_equal, make_pictures
from llava_checkpoints import save_interleave, save_llava
from safetensors.torch import load_file, save_file

import mmtui
from mmtui.errors import InputError, MissingError
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.vision.images import Picture


@pytest.fixture(scope="module")
def pictures(request: pytest.FixtureRequest) -> list[Picture]:
    from conftest import SHARED

    from mmtui.pipeline.input_files import read_picture

    photos = sorted(SHARED.glob("captions/val2017/*.jpg"))[:3]
    return [*make_pictures(), *map(read_picture, photos)]


CONVERSATIONS = {
    "one picture": lambda p: [Turn("user", (p[0], "What is in this picture?"))],
    "two pictures": lambda p: [Turn("user", (p[1], p[-1], "Compare these."))],
    "second turn": lambda p: [
        Turn("system", ("Be brief.",)),
        Turn("user", (p[2], "What is it?")),
        Turn("assistant", ("A dog.",)),
        Turn("user", (p[-2], "And this?")),
    ],
}


@pytest.fixture(scope="module", params=["clip", "siglip"])
def tower(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=["llama", "qwen2", "phi"])
def folder(request, tower: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(f"{tower}-{request.param}")
    layer = {"clip": -2, "siglip": [1, -1]}[tower]
    save_llava(folder, tower, request.param, vision_feature_layer=layer)
    return folder


@pytest.fixture(scope="module")
def ours(folder: Path) -> Ours:
    return Ours(folder)


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_logits_and_tokens_are_those_of_transformers(folder, ours, pictures, conversation):
    assert_equal(folder, ours, CONVERSATIONS[conversation](pictures))


@pytest.mark.parametrize("language", ["mistral", "gemma"])
def test_other_language_models_answer_as_in_transformers(tmp_path, pictures, language):
    save_llava(
        tmp_path, "clip", language, multimodal_projector_bias=False, projector_hidden_act="silu"
    )
    assert_equal(tmp_path, Ours(tmp_path), CONVERSATIONS["one picture"](pictures))


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_the_layout_of_llava_interleave_works_as_published(tmp_path, pictures, conversation):
    save_interleave(tmp_path)
    assert_equal(tmp_path, Ours(tmp_path), CONVERSATIONS[conversation](pictures))


@pytest.fixture
def copy(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint that a test changes."""
    save_llava(tmp_path)
    return tmp_path


def change(file: Path, **fields: Any) -> None:
    settings = json.loads(file.read_text())
    file.write_text(json.dumps(settings | fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"size": {"shortest_edge": 80}},
        {"size": {"height": 56, "width": 56}, "do_center_crop": False},
        {"image_processor_type": "LlavaImageProcessor", "do_pad": True},
        {"resample": 2, "do_normalize": False},
        {"rescale_factor": 0.01, "image_mean": [0.1, 0.2, 0.3]},
        {"size": 56, "crop_size": 56},
    ],
)
def test_pictures_are_prepared_as_the_processor_says(copy, pictures, fields):
    change(copy / "preprocessor_config.json", **fields)
    assert_equal(copy, Ours(copy), CONVERSATIONS["two pictures"](pictures))


def test_a_question_can_not_name_the_picture_token(copy, pictures):
    turn = Turn("user", (pictures[0], "What does <image> mean in <|im_start|>?"))
    prompt = Ours(copy).chat.encode([turn])
    assert [part for part in prompt if isinstance(part, Picture)] == [pictures[0]]


def test_names_of_tensors_since_transformers_5_are_known(copy, pictures):
    turns = CONVERSATIONS["one picture"](pictures)
    expected = Ours(copy).answer(turns)[0]
    state = load_file(copy / "model.safetensors")
    renamed = {
        name.replace("language_model.model.", "model.language_model.")
        .replace("language_model.lm_head.", "lm_head.")
        .replace("vision_tower.", "model.vision_tower.")
        .replace("multi_modal_projector.", "model.multi_modal_projector."): tensor
        for name, tensor in state.items()
    }
    assert renamed.keys() != state.keys()
    save_file(renamed, copy / "model.safetensors", {"format": "pt"})
    assert Ours(copy).answer(turns)[0] == expected


@pytest.mark.parametrize("precision", ["bf16", "nf4"])
def test_it_answers_in_every_precision(copy, pictures, precision):
    tokens, logits = Ours(copy, precision).answer(CONVERSATIONS["one picture"](pictures))
    assert len(tokens) == TOKENS
    assert np.isfinite(logits).all()


def test_the_cache_is_kept_between_turns(copy, pictures):
    found = checkpoint.find(str(copy)).with_precision("fp32")
    assistant = Assistant(found)
    assert (assistant.engine, assistant.picture_side) == ("torch", 56)
    turns = [Turn("user", (pictures[0], "What is in this picture? " * 9))]
    first = list(assistant.reply(turns, max_tokens=4))[-1]
    later = [*turns, Turn("assistant", (first.text,)), Turn("user", ("And what else?",))]
    second = list(assistant.reply(later, max_tokens=4))[-1]
    assert second.cached_tokens >= first.prompt_tokens - 1
    assert second.prompt_tokens > first.prompt_tokens


def test_the_python_interface_opens_it(copy, tmp_path):
    model = mmtui.load(str(copy))
    assert model.sees


def test_a_template_without_pictures_puts_them_on_a_line(copy, pictures):
    (copy / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
    )
    chat = Ours(copy).chat
    prompt = chat.encode([Turn("user", (pictures[0], "Hello"))])
    assert sum(isinstance(part, Picture) for part in prompt) == 1


@pytest.mark.parametrize(
    ("file", "fields", "message"),
    [
        ("config.json", {"model_type": "llava_next"}, "is a llava_next; mmtui runs"),
        ("config.json", {"model_type": "llava_onevision"}, "LLaVA with a CLIP or SigLIP tower"),
        ("config.json", {"vision_config": {"model_type": "pixtral"}}, "tower is a pixtral"),
        ("config.json", {"vision_feature_select_strategy": "some"}, "not default or full"),
        ("config.json", {"vision_config": {"image_size": "x"}}, "is malformed"),
        ("preprocessor_config.json", {"crop_size": {"height": 50, "width": 50}}, "56 x 56 pixels"),
        ("preprocessor_config.json", {"do_resize": False}, "56 x 56 pixels"),
        ("preprocessor_config.json", {"size": {"shortest_edge": 10**7}}, "56 x 56 pixels"),
        ("preprocessor_config.json", {"resample": 99}, "is malformed"),
        ("preprocessor_config.json", {"image_mean": [0.5]}, "is malformed"),
        ("preprocessor_config.json", {"image_std": [0, 0, 0]}, "is malformed"),
    ],
)
def test_what_is_not_supported_is_refused_in_a_line(copy, file, fields, message):
    change(copy / file, **fields)
    with pytest.raises(InputError, match=message) as caught:
        checkpoint.find(str(copy))
    assert "\n" not in str(caught.value)


def test_a_model_of_another_architecture_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"model_type": "bert", "architectures": ["BertForMaskedLM"]}'
    )
    with pytest.raises(InputError, match="is a bert; mmtui runs language models, and LLaVA"):
        checkpoint.find(str(tmp_path))


@pytest.mark.parametrize("part", ["text_config", "vision_config"])
@pytest.mark.parametrize("layers", [0, 10**9])
def test_a_config_with_a_wrong_number_of_layers_is_refused(copy, part, layers):
    config = json.loads((copy / "config.json").read_text())
    config[part]["num_hidden_layers"] = layers
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=f"{layers} layers"):
        Ours(copy)


@pytest.mark.parametrize("part", ["text_config", "vision_config"])
def test_a_config_with_a_wrong_width_is_refused(copy, part):
    config = json.loads((copy / "config.json").read_text())
    config[part]["hidden_size"] *= 2
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"is \(.*, not \("):
        Ours(copy)


def test_a_missing_shard_is_named(copy):
    index = {"weight_map": {"vision_tower.x": "model-00002-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(MissingError, match=r"model-00002-of-00002\.safetensors"):
        Ours(copy)
    (copy / "model.safetensors").unlink()  # all files are missing
    with pytest.raises(MissingError, match=r"model-00002-of-00002\.safetensors"):
        Ours(copy)


def test_a_template_that_drops_pictures_is_reported(copy, pictures):
    (copy / "chat_template.jinja").write_text("Hello")
    with pytest.raises(InputError, match="drops pictures"):
        Ours(copy).chat.encode([Turn("user", (pictures[0], "Hello"))])


def test_a_missing_tokenizer_is_reported(copy):
    (copy / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"can't be read: tokenizer\.json is missing"):
        Ours(copy)


def test_a_template_that_fails_is_reported(copy):
    (copy / "chat_template.jinja").write_text("{{ raise_exception('no') }}")
    with pytest.raises(InputError, match="the chat template of this model fails: no"):
        Ours(copy)


def test_code_of_a_model_is_never_run(copy):
    config = {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "own.py").write_text("raise SystemExit('executed')")
    found = checkpoint.find(str(copy))
    with pytest.raises(InputError, match="needs code of its own"):
        Assistant(found, engine="torch").load()


def test_a_checkpoint_in_the_hub_s_cache_can_see(hub_cache, copy):
    entry = hub_cache / "models--llava-hf--small"
    (entry / "refs").mkdir(parents=True)
    (entry / "refs" / "main").write_text("0" * 40)
    snapshot = shutil.copytree(copy, entry / "snapshots" / ("0" * 40))
    found = checkpoint.find("hf:llava-hf/small")
    assert found.can_see
    assert found.spec.name == "hf:llava-hf/small"
    assert fetch.fetch(found.spec.vision.weights) == snapshot


@pytest.fixture
def hub_cache(tmp_path_factory, monkeypatch) -> Path:
    from huggingface_hub import constants

    folder = tmp_path_factory.mktemp("hub")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return folder


def test_a_spec_of_it_can_be_written_and_read(copy, tmp_path_factory):
    spec = checkpoint.find(str(copy)).spec
    folder = tmp_path_factory.mktemp("written")
    checkpoint.write(folder, dataclasses.replace(spec, name="small"))
    read = checkpoint.read(folder)
    assert dataclasses.replace(read.spec, parts=()) == dataclasses.replace(spec, name="small")
    assert read.can_see
