"""Decoding of a Llama on a CPU with half of the calls that transformers makes.

In a small model, the overhead of calls takes as long as reading the weights.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmtui.pipeline.engines.attention import attend
from mmtui.pipeline.engines.decoder import PlainDecoder
from mmtui.pipeline.engines.torch_language import TorchLanguage


class LlamaStepDecoder(PlainDecoder):
    """A plain decoder that computes a single position with fewer calls."""

    def __init__(self, language: TorchLanguage) -> None:
        super().__init__(language)
        self._step = LlamaStep(language.model)

    @staticmethod
    def supports(model: Any) -> bool:
        """Return whether a transformers model is an unquantized Llama on a CPU."""
        linear = (module for module in model.modules() if hasattr(module, "in_features"))
        return (
            model.device.type == "cpu"
            and model.config.model_type == "llama"
            and all(type(module) is nn.Linear for module in linear)  # none of them quantized
        )

    def forward_one(self, inputs: Tensor) -> Tensor:
        return self._step(inputs, self.cache)


class LlamaStep:
    """The forward pass of a Llama for one position."""

    def __init__(self, model: Any) -> None:
        self._rotary = model.model.rotary_emb
        self._layers = [_Layer(layer) for layer in model.model.layers]
        self._norm, self._head = _norm(model.model.norm), _linear(model.lm_head)

    def __call__(self, inputs: Tensor, cache: Any) -> Tensor:
        """Return the logits (1, vocabulary) after an embedding (1, 1, hidden).

        Args:
            inputs: The embedding.
            cache: A `transformers.Cache`, to which the keys and values are appended.
        """
        row, position_ids = inputs[0], torch.tensor([[cache.get_seq_length()]])
        cos, sin = (table[0] for table in self._rotary(row, position_ids))
        half = cos.shape[-1] // 2
        sin = torch.cat([-sin[:, :half], sin[:, half:]], dim=1)
        for layer in self._layers:
            row = layer(row, cache, cos, sin)
        logits: Tensor = self._head(self._norm(row))
        return logits


class _Layer:
    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._norm_attention, self._norm_mlp = map(
            _norm, (layer.input_layernorm, layer.post_attention_layernorm)
        )
        self._query, self._key, self._value, self._out = map(
            _linear, (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
        )
        self._gate, self._up, self._down = map(_linear, (mlp.gate_proj, mlp.up_proj, mlp.down_proj))
        self._activation, self._scale = mlp.act_fn, attention.scaling
        self._attention, self._number = attention, attention.layer_idx
        self._heads = attention.config.num_attention_heads
        self._key_heads = attention.config.num_key_value_heads

    def __call__(self, row: Tensor, cache: Any, cos: Tensor, sin: Tensor) -> Tensor:
        """Apply the layer to a position.

        Args:
            row: Hidden state (1, hidden).
            cache: A `transformers.Cache`, to which the keys and values are appended.
            cos: Cosines of the rotary embedding (1, head size).
            sin: Sines of the rotary embedding (1, head size), the first half negated.
        """
        normed, width = self._norm_attention(row), cos.shape[-1]
        # Queries and keys are rotated together.
        both = torch.cat([self._query(normed), self._key(normed)], dim=1).view(-1, width)
        swapped = both.view(-1, 2, width // 2).flip(1).view(-1, width)
        both = torch.addcmul(both * cos, swapped, sin)
        values = self._value(normed).view(1, self._key_heads, 1, width)
        keys, values = cache.update(both[None, self._heads :, None], values, self._number)
        query = both[None, : self._heads, None]
        attended, _ = attend(self._attention, query, keys, values, None, scaling=self._scale)
        row = row + self._out(attended.view(1, -1))
        normed = self._norm_mlp(row)
        output: Tensor = self._down(self._activation(self._gate(normed)) * self._up(normed))
        return row + output


def _linear(module: nn.Linear) -> Any:
    """Return the function of a linear layer, without the overhead of calling a module."""
    return partial(F.linear, weight=module.weight, bias=module.bias)


def _norm(module: Any) -> Any:
    """Return the function of an RMSNorm layer, without the overhead of calling a module."""
    weight = module.weight
    shape = list(weight.shape)
    return partial(F.rms_norm, normalized_shape=shape, weight=weight, eps=module.variance_epsilon)
