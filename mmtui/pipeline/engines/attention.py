"""Attention of a single new position on a CPU.

The kernel of torch 2.8 multiplies bf16 row by row. It takes four times as long as two matrix
products with Phi-2 at 500 positions, and six times as long in a batch of 16 with SmolLM2.
"""

from typing import Any

import torch
from torch import Tensor

NAME = "single_rows"


def install(model: Any) -> None:
    """Have a transformers model on a CPU compute attention with `attend`."""
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
    """Compute attention; more than one position, and training, use the kernel of torch.

    Args:
        module: The attention layer.
        query: Queries (batch, heads, length, width).
        key: Keys (batch, key heads, positions, width). Each of their heads is shared by a group of
            query heads.
        value: Values, shaped like `key`.
        attention_mask: Which positions are attended to, or None for all.
        scaling: Factor of the scores; 1/sqrt(width) by default.
        **others: Passed to the kernel of torch.

    Returns:
        The attended values (batch, length, heads, width), and None in place of the weights.
    """
    batch, heads, length, width = query.shape
    if length > 1 or torch.is_grad_enabled():
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        attended: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **others
        )
        return attended
    key_heads = key.shape[1]
    groups = query.reshape(batch, key_heads, heads // key_heads, width).float()
    scores = groups @ key.float().transpose(2, 3) * (scaling or width**-0.5)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask[..., : key.shape[2]], -torch.inf)
    rows = scores.softmax(-1) @ value.float()
    return rows.to(query.dtype).reshape(batch, 1, heads, width), None
