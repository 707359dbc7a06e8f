"""Every documented value of every option is run, so that a new value must work."""

import json
from dataclasses import fields, replace
from importlib.util import find_spec
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
import typer
from small_configs import NANO

from mmtrain.cli.app import app
from mmtrain.model import projector_init
from mmtrain.options import AlignOptions, FinetuneOptions, PretrainOptions, RunOptions, get_flag
from mmtrain.run import plan
from mmtrain.stages import pretrain
from mmtui.errors import InputError, MissingError, MmtuiError

STAGES: tuple[type[RunOptions], ...] = (PretrainOptions, AlignOptions, FinetuneOptions)


def list_values(hint: Any) -> tuple:
    """Return the values of a Literal, also within Annotated or a union, or those of a flag."""
    if get_origin(hint) is Annotated:
        return list_values(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return get_args(hint)
    if hint is bool:
        return (True, False)
    return tuple(value for part in get_args(hint) for value in list_values(part))


CHOICES = [
    pytest.param(stage, field.name, value, id=f"{stage.stage}{get_flag(field.name)}={value}")
    for stage in STAGES
    for field in fields(stage)
    for value in list_values(get_type_hints(stage, include_extras=True)[field.name])
]


@pytest.fixture
def small(shapes_data, tiny_model, tiny_seeing_phi, tmp_path) -> dict:
    """Return the options of the smallest possible run of each stage."""
    (tmp_path / "nano.json").write_text(json.dumps(NANO))
    common = {"steps": 1, "batch": 2, "accumulation": 1, "val_limit": 0}
    dialogues = [shapes_data / "llava_instruct.json"]
    return {
        PretrainOptions: PretrainOptions(
            **common,
            data=[shapes_data / "text.jsonl"],
            size=str(tmp_path / "nano.json"),
            block=16,
        ),
        AlignOptions: AlignOptions(
            **common, data=[shapes_data], model=str(tiny_model), init="random"
        ),
        FinetuneOptions: FinetuneOptions(
            **common,
            data=dialogues,
            images=shapes_data / "train2017",
            model=str(tiny_seeing_phi),
            quantize="none",
            rank=2,
        ),
    }


@pytest.mark.parametrize(("stage", "name", "value"), CHOICES)
def test_every_documented_value_is_run(stage, name, value, small, train, monkeypatch, tmp_path):
    # A tower with random weights has no class names; test_model.py uses one that has.
    directions = torch.randn(3, 128), ["cat", "dog", "picture"]
    monkeypatch.setattr(projector_init, "_load_concepts", lambda _: directions)
    options = replace(small[stage], **{name: value})
    if name == "track" and find_spec(value) is None:
        with pytest.raises(MissingError, match="is not installed"):
            train(options, tmp_path / "out")
        return
    train(options, tmp_path / "out")
    assert (tmp_path / "out" / "metrics.jsonl").exists()


def list_documented_sizes() -> list[str]:
    """Return the sizes in the help of --size."""
    (size,) = (
        option.metavar
        for option in typer.main.get_command(app).commands["pretrain"].params
        if option.name == "size"
    )
    return size.removesuffix("|FILE").split("|")


def test_every_size_is_documented():
    assert list_documented_sizes() == list(pretrain.SIZES)


@pytest.mark.parametrize("size", list_documented_sizes())
def test_every_size_can_be_trained(size, small, train, monkeypatch, tmp_path):
    """Train the small size; check that the others are refused for lack of memory."""
    options = replace(small[PretrainOptions], size=size, optimizer="adam8bit", block=32)
    if size == "nano":
        train(options, tmp_path / "out")
        return
    monkeypatch.setattr(plan.memory, "measure_free", lambda _: 1 << 20)
    monkeypatch.setattr(pretrain, "build", None)  # the memory is checked before the model is built
    with pytest.raises(MmtuiError, match=r"needs about \d+\.\d+ GiB more memory"):
        train(options, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"partial_rotary_factor": 0.45}, "16 x 0.45 = 7 rotary dimensions must be an even"),
        ({"num_key_value_heads": 3}, "describes no Phi"),
        ({"num_attention_heads": 0}, "describes no Phi"),
        ({"hidden_size": "large"}, "Phi"),
        ({"hidden_act": "magic"}, "describes no Phi"),
        ({"model_type": "llama"}, "not 'phi'"),
    ],
)
def test_an_invalid_config_is_refused_by_name(changed, error, tmp_path):
    file = tmp_path / "odd.json"
    file.write_text(json.dumps(NANO | changed))
    with pytest.raises(InputError, match=error) as raised:
        pretrain.make_config(str(file))
    assert "odd.json" in str(raised.value) and "projector" not in str(raised.value.hint)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "is empty"),
        (b'{"hidden_size": 64,', "is cut off"),
        (b"{'hidden_size': 64}", "can't be read as JSON"),
        (b"[64]", "is not a JSON object"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
    ],
)
def test_a_config_that_is_not_json_is_refused_by_name(content, error, tmp_path):
    file = tmp_path / "odd.json"
    file.write_bytes(content)
    with pytest.raises(InputError, match=error) as raised:
        pretrain.make_config(str(file))
    assert str(file) in str(raised.value)


def test_a_config_with_a_byte_order_mark_is_read(tmp_path):
    file = tmp_path / "nano.json"
    file.write_text(json.dumps(NANO), "utf-8-sig")
    assert pretrain.make_config(str(file)).hidden_size == NANO["hidden_size"]


def test_a_misspelled_size_is_refused_with_the_sizes(tmp_path):
    with pytest.raises(InputError, match="neither a size nor a file") as raised:
        pretrain.make_config(str(tmp_path / "170mb"))
    assert "phi-2, 170m, nano" in str(raised.value.hint)
