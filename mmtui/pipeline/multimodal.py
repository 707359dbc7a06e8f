"""Input embeddings for sequences of tokens and patches of pictures."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from mmtui.pipeline.sequence import Position


def embed(
    sequences: Sequence[Sequence[Position]],
    embedding: nn.Embedding,
    features: Mapping[str, Tensor],
    side: Literal["left", "right"] = "right",
) -> tuple[Tensor, Tensor]:
    """Embed a batch of sequences as input of a causal language model.

    Gradients flow to the features. Patches replace token embeddings as in LLaVA (arXiv:2304.08485).

    Args:
        sequences: The sequences, whose lengths may differ.
        embedding: The input embeddings of the language model.
        features: Projected patch features (patches, hidden) of each picture by its SHA-256.
        side: The side on which shorter sequences are padded with zeros.

    Returns:
        inputs_embeds (batch, length, hidden) and the attention mask (batch, length).
    """
    rows = [_embed_row(sequence, embedding, features) for sequence in sequences]
    inputs = pad_sequence(rows, batch_first=True, padding_side=side)
    ones = [torch.ones(len(row), dtype=torch.long, device=inputs.device) for row in rows]
    return inputs, pad_sequence(ones, batch_first=True, padding_side=side)


def _embed_row(
    sequence: Sequence[Position], embedding: nn.Embedding, features: Mapping[str, Tensor]
) -> Tensor:
    """Embed a sequence (length, hidden)."""
    device, dtype = embedding.weight.device, embedding.weight.dtype
    tokens = [part if isinstance(part, int) else 0 for part in sequence]
    row: Tensor = embedding(torch.tensor(tokens, device=device))
    for sha256, indices, patches in _group_patches(sequence):
        values = features[sha256][torch.tensor(patches, device=features[sha256].device)]
        row = row.index_copy(0, torch.tensor(indices, device=device), values.to(device, dtype))
    return row


def _group_patches(sequence: Sequence[Position]) -> Iterator[tuple[str, list[int], list[int]]]:
    """Group the patches of a sequence by picture.

    Yields:
        The SHA-256 of a picture, the indices of its patches in the sequence, and their numbers.
    """
    slots = [(index, *part) for index, part in enumerate(sequence) if not isinstance(part, int)]
    for sha256, run in groupby(slots, key=lambda slot: slot[1]):
        indices, _, patches = zip(*run, strict=True)
        yield sha256, list(indices), list(patches)
