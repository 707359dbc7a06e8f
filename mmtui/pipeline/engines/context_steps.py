"""What a context of llama.cpp computes in a batch: positions that are appended to sequences."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(eq=False)
class Step:
    """Positions to compute and append to a sequence.

    Attributes:
        sequence: The number of the sequence.
        inputs: Token ids, or the features (n, hidden_size) of patches.
        places: Their positions (n) or (sections, n).
        output_count: How many of the last positions need logits, which take as long as several
            layers.
        is_causal: Whether each position attends only to those before it.
        logits: The logits (output_count, vocabulary), once they are computed. The next step
            overwrites them, unless the context has several sequences.
        error: Why they can't be computed.
    """

    sequence: int
    inputs: Sequence[int] | np.ndarray
    places: np.ndarray
    output_count: int
    is_causal: bool = True
    logits: np.ndarray | None = None
    error: Exception | None = None

    @property
    def is_pending(self) -> bool:
        """Whether it has not been computed."""
        return self.logits is None and self.error is None

    @property
    def width(self) -> int:
        """The size of an embedding; 0 for token ids."""
        return self.inputs.shape[1] if isinstance(self.inputs, np.ndarray) else 0


def group_steps(steps: Sequence[Step], limit: int) -> list[list[Step]]:
    """Divide steps into batches: tokens together, and the patches of each picture alone.

    Args:
        steps: The steps.
        limit: The largest number of tokens that several steps have in a batch.
    """
    groups, tokens, count = [], list[Step](), 0
    for step in steps:
        if step.width or not step.is_causal:
            groups.append([step])
            continue
        if count and count + len(step.inputs) > limit:
            groups.append(tokens)
            tokens, count = [], 0
        tokens.append(step)
        count += len(step.inputs)
    return [*groups, tokens] if tokens else groups


def count_decoding(steps: Sequence[Step]) -> int:
    """Return the number of steps, or 0 unless each of them decodes a single token."""
    return len(steps) if all(len(step.inputs) == 1 for step in steps) else 0
