"""Precision, adapters, and weights that are not what they should be."""

import codecs
import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, GPT2Config, GPT2LMHeadModel

from mmtui.errors import InputError, MissingError, MmtuiError
from mmtui.pipeline.engines import torch_language

IDS = torch.arange(3, 60, 2)[None]


def logits(model) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits.float()


@pytest.fixture(params=["tiny_llama", "tiny_phi"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.fixture
def adapter(folder: Path, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(folder)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])
    adapted = get_peft_model(base, config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_loads_what_transformers_loads(folder, precision, dtype):
    ours = torch_language.load(folder, precision=precision)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    assert ours.embedding.weight.dtype == dtype
    assert torch.equal(logits(ours.model), logits(theirs))
    assert not any(parameter.is_meta for parameter in ours.model.parameters())


@pytest.fixture
def stored(folder: Path, tmp_path: Path) -> Path:
    """The model in 16 bits, as most come."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    copy = shutil.copytree(folder, tmp_path / "bf16", ignore=lambda *_: ["model.safetensors"])
    model.save_pretrained(copy)
    return copy


def quantized_by_transformers(folder: Path):
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, quantization_config=settings, device_map={"": "cpu"}
    ).eval()


def test_nf4_equals_transformers_own_quantization(stored):
    ours = logits(torch_language.load(stored, precision="nf4").model)
    torch.testing.assert_close(ours, logits(quantized_by_transformers(stored)))
    full = logits(torch_language.load(stored, precision="bf16").model)
    assert not torch.allclose(ours, full, atol=0.1)  # it was quantized


def test_an_adapter_is_merged_as_peft_applies_it(folder, adapter):
    base = AutoModelForCausalLM.from_pretrained(folder).eval()
    plain = logits(base)
    expected = logits(PeftModel.from_pretrained(base, str(adapter)).eval())
    assert not torch.allclose(expected, plain, atol=0.1)
    ours = torch_language.load(folder, precision="fp32", adapter=adapter)
    torch.testing.assert_close(logits(ours.model), expected, atol=1e-4, rtol=1e-4)


def test_an_adapter_lies_over_nf4_as_peft_lays_it(stored, adapter):
    base = quantized_by_transformers(stored)
    expected = logits(PeftModel.from_pretrained(base, str(adapter)).eval())
    ours = torch_language.load(stored, precision="nf4", adapter=adapter)
    torch.testing.assert_close(logits(ours.model), expected)
    plain = logits(torch_language.load(stored, precision="nf4").model)
    assert not torch.allclose(expected, plain, atol=0.1)


def test_fp16_phi_is_refused_with_the_reason(tiny_phi, tiny_llama):
    with pytest.raises(MmtuiError, match="overflow") as refused:
        torch_language.load(tiny_phi, precision="fp16")
    assert "bf16" in refused.value.hint
    assert torch_language.load(tiny_llama, precision="fp16").embedding.weight.dtype == torch.float16


def test_auto_takes_4_bits_only_where_16_do_not_fit(tiny_llama, monkeypatch):
    assert torch_language.load(tiny_llama).precision == "bf16"
    no_room = type("Memory", (), {"available": 0.9e9})
    monkeypatch.setattr(torch_language.psutil, "virtual_memory", no_room)
    assert torch_language.load(tiny_llama).precision == "nf4"


def test_hub_weights_without_the_prefix_of_the_head_model(tiny_llama, tmp_path):
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
    torch.testing.assert_close(logits(loaded.model), logits(model))


def test_end_tokens_come_from_wherever_they_are_named(copy):
    (copy / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 7]}))
    assert {2, 7} <= torch_language.load(copy, precision="fp32").stop_ids


def test_a_folder_without_a_model(tmp_path):
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


def test_an_adapter_of_another_model_is_reported(tiny_llama, tiny_phi, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(tiny_phi)
    get_peft_model(base, LoraConfig(target_modules=["dense"])).save_pretrained(tmp_path / "a")
    with pytest.raises(InputError, match="does not fit"):
        torch_language.load(tiny_llama, precision="fp32", adapter=tmp_path / "a")


def test_an_adapter_with_tensors_that_have_no_place_is_reported(folder, adapter):
    weights = adapter / "adapter_model.safetensors"
    renamed = {name.replace("self_attn", "attn"): t for name, t in load_file(weights).items()}
    save_file(renamed, weights)
    with pytest.raises(InputError, match="has no place"):
        torch_language.load(folder, precision="fp32", adapter=adapter)


@pytest.mark.parametrize(
    "change",
    [{"num_attention_heads": 0}, {"hidden_size": -4}, {"num_hidden_layers": "x"}],
)
def test_a_config_of_nonsense_is_reported(copy, change):
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
    assert torch.equal(logits(loaded.model), logits(expected.model))
    assert loaded.tokenizer("a dog").input_ids == expected.tokenizer("a dog").input_ids
