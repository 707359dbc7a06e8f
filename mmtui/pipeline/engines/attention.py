"""Attention of a single new position on a CPU.

torch's kernel for it (2.8) multiplies bf16 row by row: with Phi-2 at 500 positions it takes four
times as long as two matrix products do, in a batch of 16 of SmolLM2 six times.
"""

from typing import Any

import torch
from torch import Tensor

NAME = "single_rows"


def use(model: Any) -> None:
    """Have a transformers model on a CPU decode with it, and attend as before elsewhere."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if model.device.type == "cpu" and model.config._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, attend)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Of queries (batch, heads, length, width) over keys and values of as many heads or fewer.

    Returns (batch, length, heads, width).
    """
    batch, heads, length, width = query.shape
    if length > 1 or torch.is_grad_enabled():
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        attended: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **others
        )
        return attended
    shared = key.shape[1]  # heads of keys, each for a group of queries
    groups = query.reshape(batch, shared, heads // shared, width).float()
    scores = groups @ key.float().transpose(2, 3) * (scaling or width**-0.5)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask[..., : key.shape[2]], -torch.inf)
    rows = scores.softmax(-1) @ value.float()
    return rows.to(query.dtype).reshape(batch, 1, heads, width), None
