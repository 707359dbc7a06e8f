"""Loading language models: precision, and files that are damaged or incomplete."""

import codecs
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch_models import compute_logits, quantize_with_transformers
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from mmtui.errors import InputError, MissingError, MmtuiError
from mmtui.pipeline.engines import torch_language


@pytest.fixture
def copy(language_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(language_folder, tmp_path / "copy")


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_a_model_has_the_logits_that_transformers_computes(language_folder, precision, dtype):
    ours = torch_language.load(language_folder, precision=precision)
    theirs = AutoModelForCausalLM.from_pretrained(language_folder, dtype=dtype).eval()
    assert ours.embedding.weight.dtype == dtype
    assert torch.equal(compute_logits(ours.model), compute_logits(theirs))
    assert not any(parameter.is_meta for parameter in ours.model.parameters())


def test_nf4_weights_equal_those_that_transformers_quantizes(bf16_folder):
    ours = compute_logits(torch_language.load(bf16_folder, precision="nf4").model)
    torch.testing.assert_close(ours, compute_logits(quantize_with_transformers(bf16_folder)))
    full = compute_logits(torch_language.load(bf16_folder, precision="bf16").model)
    assert not torch.allclose(ours, full, atol=0.1)  # the weights are quantized


def test_fp16_phi_is_refused_with_the_reason(tiny_phi, tiny_llama):
    with pytest.raises(MmtuiError, match="overflow") as refused:
        torch_language.load(tiny_phi, precision="fp16")
    assert "bf16" in refused.value.hint
    assert torch_language.load(tiny_llama, precision="fp16").embedding.weight.dtype == torch.float16


def test_auto_selects_nf4_only_where_bf16_does_not_fit(tiny_llama, monkeypatch):
    assert torch_language.load(tiny_llama).precision == "bf16"
    little_memory = type("Memory", (), {"available": 0.9e9})
    monkeypatch.setattr(torch_language.psutil, "virtual_memory", little_memory)
    assert torch_language.load(tiny_llama).precision == "nf4"


def test_weights_without_the_prefix_of_the_head_model_are_loaded(tiny_llama, tmp_path):
    """GPT-2 on the hub names its tensors `h.0...`, not `transformer.h.0...`."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=2)).eval()
    model.transformer.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps(config | {"architectures": ["GPT2LMHeadModel"]})
    )
    for file in tiny_llama.glob("*token*"):
        shutil.copy(file, tmp_path)
    loaded = torch_language.load(tmp_path, precision="fp32")
    torch.testing.assert_close(compute_logits(loaded.model), compute_logits(model))


def test_end_tokens_are_read_from_the_generation_config_too(copy):
    (copy / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 7]}))
    assert {2, 7} <= torch_language.load(copy, precision="fp32").stop_ids


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="no language model"):
        torch_language.load(tmp_path)


def test_pickled_weights_are_not_loaded(copy):
    for shard in copy.glob("model*"):
        shard.unlink()
    torch.save({}, copy / "pytorch_model.bin")
    with pytest.raises(InputError, match="no safetensors weights"):
        torch_language.load(copy)


def test_a_cut_off_file_is_reported(copy):
    shard = max(copy.glob("*.safetensors"), key=lambda path: path.stat().st_size)
    shard.write_bytes(shard.read_bytes()[:-1000])
    with pytest.raises(InputError, match="damaged"):
        torch_language.load(copy)


def test_a_missing_shard_is_reported(tiny_phi, tmp_path):
    copy = shutil.copytree(tiny_phi, tmp_path / "phi")
    next(copy.glob("*.safetensors")).unlink()
    with pytest.raises(MissingError, match="lacks"):
        torch_language.load(copy)


def test_a_missing_or_misshapen_tensor_is_reported(tiny_llama, tmp_path):
    copy = shutil.copytree(tiny_llama, tmp_path / "llama")
    state = load_file(copy / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    save_file({**state, name: torch.zeros(2, 2)}, copy / "model.safetensors")
    with pytest.raises(InputError, match=name):
        torch_language.load(copy)
    del state[name]
    save_file(state, copy / "model.safetensors")
    with pytest.raises(InputError, match=f"lacks the weights {name}"):
        torch_language.load(copy)


@pytest.mark.parametrize(
    "change",
    [{"num_attention_heads": 0}, {"hidden_size": -4}, {"num_hidden_layers": "x"}],
)
def test_an_invalid_config_is_reported(copy, change):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError):
        torch_language.load(copy)


def test_damaged_generation_settings_are_reported(copy):
    (copy / "generation_config.json").write_text("{")
    with pytest.raises(InputError, match=r"generation_config.json is damaged"):
        torch_language.load(copy)


def test_code_that_comes_with_a_model_is_not_run(copy, tmp_path):
    config = json.loads((copy / "config.json").read_text())
    config["model_type"] = "evil"
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    (copy / "config.json").write_text(json.dumps(config))
    ran = tmp_path / "ran"
    (copy / "evil.py").write_text(f"open({str(ran)!r}, 'w')")
    with pytest.raises(InputError):
        torch_language.load(copy)
    assert not ran.exists()


@pytest.mark.parametrize("precision", ["fp32", "nf4"])  # merged, and through PEFT
def test_files_with_a_byte_order_mark_are_loaded(copy, adapter, precision):
    expected = torch_language.load(copy, precision=precision, adapter=adapter)
    for file in (*copy.glob("*.json"), *adapter.glob("*.json")):
        file.write_bytes(codecs.BOM_UTF8 + file.read_bytes())
    loaded = torch_language.load(copy, precision=precision, adapter=adapter)
    assert torch.equal(compute_logits(loaded.model), compute_logits(expected.model))
    assert loaded.tokenizer("a dog").input_ids == expected.tokenizer("a dog").input_ids
