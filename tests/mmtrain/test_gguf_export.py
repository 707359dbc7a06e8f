"""Trained models are exported as GGUF files that both engines load."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.engines import torch_language
from mmtui.pipeline.engines.llama_library import find_packages
from mmtui.pipeline.engines.loading import fetch_for_torch
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.reply import Reply
from mmtui.pipeline.vision.images import Picture


@pytest.fixture(params=["tiny_llama", "tiny_phi"])
def trained(request, tiny_vision, tmp_path) -> checkpoint.Checkpoint:
    """Save a checkpoint with a projector and an adapter, as `finetune` does."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = request.getfixturevalue(request.param)
    torch.manual_seed(0)
    settings = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(tmp_path / "adapter")
    spec = ModelSpec("tiny", LanguageSpec(Asset(str(base)), "fp32"), tiny_vision)
    run = tmp_path / "run"
    checkpoint.write(run, spec, torch.nn.Linear(128, 64).state_dict(), tmp_path / "adapter")
    return checkpoint.read(run)


def generate_answer(model: checkpoint.Checkpoint, engine: str, *content) -> str:
    *_, reply = Assistant(model, engine=engine).reply([Turn("user", content)], max_tokens=8)
    assert isinstance(reply, Reply)
    return reply.text


def test_an_exported_gguf_has_the_weights_and_answers_of_the_model(
    trained, installed_mmtrain, session_cache, tmp_path
):
    out = tmp_path / "out"
    run = installed_mmtrain(
        "export", "gguf", tmp_path / "run", out, "--quantize", "f16", env=session_cache
    )
    assert run.code == 0, run.err
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {"spec.json", "projector.safetensors", "language/model.gguf"} < files
    assert not any("adapter" in name for name in files)
    exported = checkpoint.read(out)
    merged = torch_language.load(
        Path(trained.spec.language.weights.uri), precision="fp32", adapter=trained.adapter
    )
    back = torch_language.load(fetch_for_torch(exported.spec.language.weights), precision="fp32")
    expected = merged.model.state_dict()
    for name, tensor in back.model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], atol=2e-3, rtol=1e-2)

    if not find_packages():
        pytest.skip("llama.cpp is not installed")
    picture = Picture("c" * 64, Image.new("RGB", (64, 64), "red"))
    for content in (("What is this?",), (picture, "And this?")):
        assert generate_answer(exported, "llamacpp", *content) == generate_answer(
            trained, "torch", *content
        )


def test_a_folder_with_other_files_and_a_missing_model_are_refused(
    mmtrain, tiny_model, session_cache, tmp_path
):
    (tmp_path / "mine.txt").write_text("precious")
    run = mmtrain("export", "gguf", tiny_model, tmp_path, env=session_cache)
    assert (run.code, run.out) == (2, "") and "contains other files" in run.err
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    run = mmtrain("export", "gguf", tiny_model, tmp_path / "run", env=session_cache)
    assert run.code == 2 and "contains a run" in run.err
    run = mmtrain("export", "gguf", tmp_path / "nothing", tmp_path / "x", env=session_cache)
    assert run.code == 2 and "there is no model" in run.err


@pytest.mark.parametrize("quantization", ["q8_0", "q4_0"])
def test_both_engines_have_nearly_the_same_perplexity(
    quantization, mmtrain, tiny_seeing_phi, shared, session_cache, tmp_path
):
    if not find_packages():
        pytest.skip("llama.cpp is not installed")
    out = tmp_path / "out"
    options = ("--quantize", quantization)
    assert mmtrain("export", "gguf", tiny_seeing_phi, out, *options, env=session_cache).code == 0
    data = shared / "text" / "redpajama_sample_val.jsonl.gz"
    command = ("eval", "text", "--data", data, "--limit", 1, "--json")
    exact = mmtrain(*command, "--model", tiny_seeing_phi, env=session_cache).json
    near = mmtrain(*command, "--model", out, "--engine", "llamacpp", env=session_cache).json
    assert near["tokens"] == exact["tokens"]
    allowed = {"q8_0": 0.02, "q4_0": 0.3}[quantization]
    assert near["loss_per_token"] == pytest.approx(exact["loss_per_token"], rel=allowed)
