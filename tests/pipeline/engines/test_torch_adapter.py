"""LoRA adapters are applied as PEFT applies them."""

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch_models import compute_logits, quantize_with_transformers
from transformers import AutoModelForCausalLM

from mmtui.errors import InputError
from mmtui.pipeline.engines import torch_language


def test_an_adapter_is_merged_as_peft_applies_it(language_folder, adapter):
    base = AutoModelForCausalLM.from_pretrained(language_folder).eval()
    plain = compute_logits(base)
    expected = compute_logits(PeftModel.from_pretrained(base, str(adapter)).eval())
    assert not torch.allclose(expected, plain, atol=0.1)
    ours = torch_language.load(language_folder, precision="fp32", adapter=adapter)
    torch.testing.assert_close(compute_logits(ours.model), expected, atol=1e-4, rtol=1e-4)


def test_an_adapter_is_applied_to_nf4_weights_as_peft_applies_it(bf16_folder, adapter):
    base = quantize_with_transformers(bf16_folder)
    expected = compute_logits(PeftModel.from_pretrained(base, str(adapter)).eval())
    ours = torch_language.load(bf16_folder, precision="nf4", adapter=adapter)
    torch.testing.assert_close(compute_logits(ours.model), expected)
    plain = compute_logits(torch_language.load(bf16_folder, precision="nf4").model)
    assert not torch.allclose(expected, plain, atol=0.1)


def test_an_adapter_of_another_model_is_reported(tiny_llama, tiny_phi, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(tiny_phi)
    get_peft_model(base, LoraConfig(target_modules=["dense"])).save_pretrained(tmp_path / "a")
    with pytest.raises(InputError, match="does not fit"):
        torch_language.load(tiny_llama, precision="fp32", adapter=tmp_path / "a")


def test_an_adapter_with_tensors_of_unknown_layers_is_reported(language_folder, adapter):
    weights = adapter / "adapter_model.safetensors"
    renamed = {name.replace("self_attn", "attn"): t for name, t in load_file(weights).items()}
    save_file(renamed, weights)
    with pytest.raises(InputError, match="has no place"):
        torch_language.load(language_folder, precision="fp32", adapter=adapter)
