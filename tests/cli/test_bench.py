"""`mmtui bench`, and models of full size with random weights."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoConfig, AutoModelForCausalLM

from mmtui.bench import busy, random_weights
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.engines.llama_library import find_packages
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.reply import Reply

pytestmark = pytest.mark.slow  # computes with models of real size
SMOL_BYTES = 2 * 134_515_008  # in bf16; the output layer is the embedding table


def test_bench_measures_smol(mmtui, smol):
    run = mmtui("bench", "--model", "smol", "--engine", "torch", "--json")
    assert run.code == 0, run.err
    result = run.json
    print(f"\n{result}")
    assert (result["model"], result["engine"], result["weights"]) == ("smol", "torch", "bf16")
    assert result["bytes_per_token"] == SMOL_BYTES
    assert result["peak_bytes"] > SMOL_BYTES
    times = [value for name, value in result.items() if name.endswith("_s")]
    assert len(times) == 9 and all(value > 0 for value in times)
    assert result["fraction_of_limit"] == pytest.approx(
        result["decode_tokens_per_s"] * SMOL_BYTES / result["read_bytes_per_s"]
    )
    assert result["second_turn_cached_tokens"] > result["prefill_tokens"] > 256
    assert all(seconds > 0 for seconds in result["start"].values())
    assert result["start"]["total"] == pytest.approx(
        sum(result["start"][part] for part in ("imports", "language", "vision", "first_token"))
    )
    assert "busy" not in result
    assert result["machine"]["cores"] > 0 and result["machine"]["torch"] == version("torch")


def test_the_table_shows_results_for_llama_cpp_and_a_picture(mmtui, smol, tmp_path: Path):
    if not find_packages():
        pytest.skip("llama.cpp is not installed")
    photo = tmp_path / "photo.png"
    Image.linear_gradient("L").resize((300, 200)).save(photo)
    run = mmtui("bench", "--model", "smol", "--engine", "llamacpp", "--image", str(photo))
    assert run.code == 0, run.err
    assert "smol on llamacpp, Q8_0" in run.out
    for row, value in (
        ("decode", r"\d+\.\d tokens/s"), ("a picture", r"\d\.\d+ s"),
        ("peak memory", r"\d\.\d+ GiB"),
        (r"first token, second turn \(\d+ tokens kept\)", r"\d\.\d+ s"), ("reached", r"\d+%"),
    ):  # fmt: skip
        assert re.search(rf"{row}\W+{value}", run.out), run.out


def test_bench_measures_decoding_beside_busy_processes(mmtui_here, smol, monkeypatch):
    monkeypatch.setattr(busy, "ROUNDS", 2)
    monkeypatch.setattr(busy, "DECODED_S", 0.1)
    run = mmtui_here("bench", "--model", "smol", "--busy", "--json")
    assert run.code == 0, run.err
    speeds = run.json["busy"]
    assert [speed["processes"] for speed in speeds] == [1, 2]
    for speed in speeds:
        assert "1" in speed["fixed"] and min(speed["fixed"].values()) > 0
        assert speed["ratio"] == pytest.approx(speed["following"] / max(speed["fixed"].values()))


def test_a_model_without_vision_refuses_a_picture(mmtui, tmp_path: Path):
    photo = tmp_path / "photo.png"
    Image.new("RGB", (9, 9)).save(photo)
    run = mmtui("bench", "--model", "phi2", "--image", str(photo))
    assert (run.code, run.out) == (2, "") and "phi2 can't see" in run.err


@pytest.mark.parametrize("preset", sorted(random_weights.LANGUAGE_CONFIGS))
def test_random_weights_have_the_shapes_of_the_model(preset):
    config = dict(random_weights.LANGUAGE_CONFIGS[preset])
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    expected = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    assert random_weights._compute_shapes(config) == expected


@pytest.mark.parametrize("engine", ["torch", "llamacpp"])
def test_a_model_with_random_weights_answers(engine, tmp_path: Path):
    if engine == "llamacpp" and not find_packages():
        pytest.skip("llama.cpp is not installed")
    model = random_weights.write_checkpoint(checkpoint.find("smol"), engine, tmp_path)
    assistant = Assistant(model, engine=engine)
    *_, reply = assistant.reply([Turn("user", ("Hello",))], max_tokens=3)
    assert isinstance(reply, Reply)
    assert reply.completion_tokens == 3
    assert assistant.language.weight_type == {"torch": "bf16", "llamacpp": "Q8_0"}[engine]


@pytest.mark.parametrize(
    ("engine", "precision"), [("llamacpp", "fp32"), ("llamacpp", "nf4"), ("torch", "auto")]
)
def test_the_estimated_size_is_enough_for_what_is_written(engine, precision, tmp_path: Path):
    smol = checkpoint.find("smol").with_precision(precision)
    random_weights.write_checkpoint(smol, engine, tmp_path)
    written = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    needed = random_weights.estimate_size(smol, engine)
    assert written < needed < written + 350_000_000


def test_random_weights_need_a_preset(mmtui):
    run = mmtui("bench", "--model", "hf:someone/something", "--random-weights")
    assert (run.code, run.out) == (2, "")
    assert "error: the shape of hf:someone/something is not known" in run.err
    assert "hint: with --random-weights, pass --model phi2 or smol" in run.err
