"""The step of a Llama on a CPU is as exact as that of transformers."""

from functools import partial

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from mmtui.pipeline.engines import torch_language
from mmtui.pipeline.engines.torch_llama import LlamaStep, LlamaStepDecoder

SHAPES = {
    "plain": {},
    "biases, wide heads": {"attention_bias": True, "mlp_bias": True, "head_dim": 32},
    "one shared head, tied": {"num_key_value_heads": 1, "tie_word_embeddings": True},
    "no shared heads, another activation": {"num_key_value_heads": 6, "hidden_act": "gelu"},
    "turns of Llama 3": {
        "rope_scaling": {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 16,
        }
    },
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
@torch.inference_mode()
def test_logits_are_as_near_to_exact_ones_as_those_of_transformers(shape, dtype):
    torch.manual_seed(0)
    config = {
        "vocab_size": 50, "hidden_size": 96, "intermediate_size": 80, "num_hidden_layers": 3,
        "num_attention_heads": 6, "num_key_value_heads": 2, "initializer_range": 0.2,
    }  # fmt: skip
    model = LlamaForCausalLM(LlamaConfig(**config | SHAPES[shape])).to(dtype).eval()
    for name, weight in model.named_parameters():
        if name.endswith("bias") or "norm" in name:
            weight.add_(0.3 * torch.randn_like(weight))
    assert LlamaStepDecoder.supports(model)
    inputs = torch.randn(1, 40, 96, dtype=dtype)
    mine = logits(model, LlamaStep(model), inputs)
    theirs = logits(model, partial(transformers_step, model), inputs)
    model.double()
    exact = model(inputs_embeds=inputs.double()).logits[0, 7:]
    mine_off, theirs_off = ((one.double() - exact).norm() / exact.norm() for one in (mine, theirs))
    assert mine_off < 1.3 * theirs_off
    assert theirs_off < (1e-5 if dtype == torch.float32 else 0.1)


def transformers_step(model, piece, cache):
    return model(inputs_embeds=piece, past_key_values=cache).logits[:, -1]


def logits(model, step, inputs: torch.Tensor) -> torch.Tensor:
    """After each of the inputs from the seventh on; the first are read by transformers, and cut."""
    cache = DynamicCache(config=model.config)
    model(inputs_embeds=inputs[:, :9], past_key_values=cache)
    cache.crop(7)
    rows = [step(inputs[:, at : at + 1], cache)[0] for at in range(7, 40)]
    assert cache.get_seq_length() == 40
    return torch.stack(rows)


def test_only_unquantized_llamas_are_supported(tiny_llama, tiny_phi):
    assert LlamaStepDecoder.supports(torch_language.load(tiny_llama, precision="bf16").model)
    assert not LlamaStepDecoder.supports(torch_language.load(tiny_llama, precision="nf4").model)
    assert not LlamaStepDecoder.supports(torch_language.load(tiny_phi, precision="fp32").model)
