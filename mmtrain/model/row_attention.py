"""Attention over the rows of a batch whose positions lie in one sequence without padding."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mmtrain.data.flat_rows import FlatRows, flatten
from mmtrain.data.shared_prefix import Row
from mmtui.pipeline.engines import attention
from mmtui.pipeline.prompt import IGNORE_INDEX

NAME = "rows"
# On a CPU, two matrix products train faster than fused attention on rows of up to this many
# positions, by a factor of three. Their memory grows with the square of the length.
MAX_UNFUSED_LENGTH = 512


@dataclass(frozen=True)
class RowAttention:
    """Which positions of a sequence attend to each other.

    Attributes:
        flat: The sequence.
        mask: (rows, 1, length, length) booleans: True where a query (third axis) attends to a key;
            None if rows have no branches and attention is causal.
    """

    flat: FlatRows
    mask: Tensor | None
    _biases: dict[torch.dtype, Tensor] = field(default_factory=dict)

    def get_bias(self, dtype: torch.dtype) -> Tensor:
        """Return what is added to scores (rows or 1, 1, length, length): 0 or minus infinity."""
        if dtype not in self._biases:
            length, device = self.flat.length, self.flat.gather.device
            mask = self.mask
            if mask is None:
                mask = torch.ones(1, 1, length, length, dtype=torch.bool, device=device).tril()
            bias = torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, -torch.inf)
            self._biases[dtype] = bias
        return self._biases[dtype]


def enable(language: Any) -> None:
    """Let a language model attend over rows, if it can do so.

    It can if it computes, in a trial on a few tokens, the logits of a row alone.
    """
    before = language.config._attn_implementation
    if before not in ("sdpa", attention.NAME) or getattr(language.config, "sliding_window", None):
        return
    install(language)
    was_training = language.training
    language.train()  # on a CPU, eval() makes bitsandbytes repack 4-bit weights for good
    try:
        can_attend = _keeps_rows_apart(language)
    except (TypeError, ValueError, RuntimeError):  # it refuses the arguments
        can_attend = False
    finally:
        language.train(was_training)
    if not can_attend:
        language.set_attn_implementation(before)


def install(language: Any) -> None:
    """Make `attend` the attention of a language model, without a trial."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    language.set_attn_implementation(NAME)


def is_enabled(language: Any) -> bool:
    """Return whether `enable` let a language model attend over rows."""
    return bool(language.config._attn_implementation == NAME)


def arguments(flat: FlatRows, mask: Tensor | None) -> dict[str, Any]:
    """Return what a language model is called with beside the inputs (1, N, hidden).

    The attention mask is a placeholder of the form that transformers passes on unchanged.
    """
    placeholder = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=flat.gather.device)
    return {
        "position_ids": flat.position_ids,
        "attention_mask": placeholder,
        "row_attention": RowAttention(flat, mask),
    }


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    row_attention: RowAttention | None = None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Compute attention, over rows where `row_attention` says which; else as the engine does.

    Args:
        module: The attention layer.
        query: Queries (1, heads, N, width).
        key: Keys (1, key heads, N, width); each head is shared by a group of queries.
        value: Values, shaped like `key`.
        attention_mask: Unused with `row_attention`.
        row_attention: The rows.
        scaling: Factor of the scores; 1/sqrt(width) by default.
        **others: Passed to the kernel of torch.

    Returns:
        The attended values (1, N, heads, width), and None in place of the weights.
    """
    if row_attention is None:
        return attention.attend(
            module, query, key, value, attention_mask, scaling=scaling, **others
        )
    flat = row_attention.flat
    device = query.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    query, key, value = (_to_rows(heads[0].transpose(0, 1), flat) for heads in (query, key, value))
    if device == "cpu" and flat.length <= MAX_UNFUSED_LENGTH:
        rows = _attend_unfused(query, key, value, row_attention.get_bias(query.dtype), scaling)
    else:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        rows, _ = sdpa_attention_forward(
            module,
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            row_attention.mask,
            scaling=scaling,
            **others,
        )
    return _from_rows(rows, flat)[None], None


def _attend_unfused(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scaling: float | None
) -> Tensor:
    """Attend with plain matrix products; all are (rows, length, heads, width)."""
    rows, length, heads, width = query.shape
    shared = key.shape[2]  # heads of keys, each shared by a group of queries
    query = query * (scaling or width**-0.5)
    grouped = query.view(rows, length, shared, heads // shared, width).permute(0, 2, 3, 1, 4)
    grouped = grouped.reshape(rows * shared, -1, width)
    keys = key.permute(0, 2, 3, 1).reshape(rows * shared, width, length)
    values = value.transpose(1, 2).reshape(rows * shared, length, width)
    scores = torch.bmm(grouped, keys).view(rows, heads, length, length).add_(bias)
    weights = scores.softmax(-1, dtype=scores.dtype).view(rows * shared, -1, length)
    attended = torch.bmm(weights, values).view(rows, heads, length, width)
    return attended.transpose(1, 2)


class _ToRows(torch.autograd.Function):
    """Copies a sequence (N, ...) to padded rows (rows, length, ...)."""

    @staticmethod
    def forward(ctx: Any, sequence: Tensor, flat: FlatRows) -> Tensor:
        ctx.flat = flat
        rows = sequence.index_select(0, flat.gather)
        return rows.view(flat.rows, flat.length, *sequence.shape[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        flat, gradient = ctx.flat, gradients[0]
        result = gradient.flatten(0, 1).index_select(0, flat.scatter)
        if flat.common:
            result[: flat.common] = gradient[:, : flat.common].sum(0)
        return result, None


class _FromRows(torch.autograd.Function):
    """Copies padded rows (rows, length, ...) to a sequence (N, ...)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, flat: FlatRows) -> Tensor:
        ctx.flat = flat
        return rows.flatten(0, 1).index_select(0, flat.scatter)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        flat, gradient = ctx.flat, gradients[0]
        rows = gradient.index_select(0, flat.gather)
        rows.masked_fill_(flat.is_copy.view(-1, *(1,) * (rows.ndim - 1)), 0)
        return rows.view(flat.rows, flat.length, *rows.shape[1:]), None


_to_rows: Callable[[Tensor, FlatRows], Tensor] = _ToRows.apply
_from_rows: Callable[[Tensor, FlatRows], Tensor] = _FromRows.apply


@torch.no_grad()
def _keeps_rows_apart(language: Any) -> bool:
    """Compare the last logits of two rows with a common prefix with those of one of them alone."""
    none = [IGNORE_INDEX] * 5
    rows = [
        Row([1, 2, 3, 4, 5], none, [0] * 5, list(range(5))),
        Row([1, 2, 3, 6, 7], none, [0] * 5, list(range(5))),
    ]
    flat = flatten(rows, {}, 1).to(language.device)
    embedding = language.get_input_embeddings()

    def compute(tokens: Tensor, **others: Any) -> Tensor:
        logits: Tensor = language(
            inputs_embeds=embedding(tokens)[None], use_cache=False, **others
        ).logits[0, -1]
        return logits

    together = compute(flat.tokens, **arguments(flat, None))
    alone = compute(torch.tensor([1, 2, 3, 6, 7], device=language.device))
    mixed = compute(flat.tokens)
    return bool((together - alone).norm() < 0.2 * (mixed - alone).norm())
