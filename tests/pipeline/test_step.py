"""A token's step on a CPU gives what transformers gives, and is taken where it does."""

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from mmtui.pipeline import language
from mmtui.pipeline.step import Step, can_step

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
def test_logits_are_those_of_transformers(shape, dtype):
    torch.manual_seed(0)
    config = {
        "vocab_size": 50, "hidden_size": 96, "intermediate_size": 80, "num_hidden_layers": 3,
        "num_attention_heads": 6, "num_key_value_heads": 2, "initializer_range": 0.2,
    }  # fmt: skip
    model = LlamaForCausalLM(LlamaConfig(**config | SHAPES[shape])).to(dtype).eval()
    for name, weight in model.named_parameters():
        if name.endswith("bias") or "norm" in name:
            weight.add_(0.3 * torch.randn_like(weight))
    assert can_step(model)
    step, inputs = Step(model), torch.randn(1, 40, 96, dtype=dtype)
    mine, theirs = DynamicCache(config=model.config), DynamicCache(config=model.config)
    differences = []
    for cache in (mine, theirs):  # begun by transformers, and cut
        model(inputs_embeds=inputs[:, :9], past_key_values=cache)
        cache.crop(7)
    for at in range(7, 40):
        piece = inputs[:, at : at + 1]
        expected = model(inputs_embeds=piece, past_key_values=theirs).logits[:, -1].float()
        differences.append((step(piece, mine).float() - expected).abs().max() / expected.std())
    assert mine.get_seq_length() == theirs.get_seq_length() == 40
    assert max(differences) < (1e-4 if dtype == torch.float32 else 0.1)


def test_it_is_taken_by_llamas_whose_weights_are_plain(tiny_llama, tiny_phi):
    assert can_step(language.load(tiny_llama, precision="bf16").model)
    assert not can_step(language.load(tiny_llama, precision="nf4").model)
    assert not can_step(language.load(tiny_phi, precision="fp32").model)
