"""Prompts as sequences of positions, and reuse of the KV cache."""

from collections.abc import Mapping, Sequence
from itertools import count

from mmtui.pipeline.prompt import Prompt

# A token id, or the SHA-256 of a picture and the number of one of its patches.
Position = int | tuple[str, int]

MIN_SHARED = 64  # fewest positions in common with another conversation to reuse its cache
PREFILL_CHUNK = 128  # positions in a batch; a large model on a CPU needs seconds for it
AHEAD_CHUNK = 32  # positions in a batch that is read ahead: a question waits for it to end


def to_positions(
    prompt: Prompt, patches: int, layouts: Mapping[str, Sequence[int | None]] | None = None
) -> list[Position]:
    """Replace each picture of a prompt by its patches, and each recording by its frames.

    Args:
        prompt: Token ids, pictures and recordings.
        patches: The number of patches of a picture.
        layouts: For pictures that have another number or tokens between their patches, by SHA-256:
            these tokens, with None for each patch.
    """
    expanded: list[Position] = []
    for part in prompt:
        if isinstance(part, int):
            expanded.append(part)
        elif layout := (layouts or {}).get(part.sha256):
            numbers = count()
            expanded.extend(
                (part.sha256, next(numbers)) if token is None else token for token in layout
            )
        else:
            expanded.extend((part.sha256, patch) for patch in range(patches))
    return expanded


def count_reusable(
    cached: Sequence[Position], sequence: Sequence[Position], prompt: Sequence[Position] = ()
) -> int:
    """Return the number of leading positions of `sequence` that are reused from the KV cache.

    The last position is computed again, because its logits are needed. If `sequence` is the last
    prompt, whose logits the engine stores, all positions are reused. Computed alone, the last
    position would be rounded differently than in its batch.

    A short prefix of another conversation, such as its template, is not reused. Positions computed
    in other batches differ in their last bits, and the same seed could give another answer.

    Args:
        cached: The positions in the cache.
        sequence: The positions to compute.
        prompt: The last prompt whose logits are stored.
    """
    if list(sequence) == list(prompt) == list(cached[: len(sequence)]):
        return len(sequence)
    common = count_common(cached, sequence)
    if common < min(MIN_SHARED, len(cached)):
        return 0
    return min(common, len(sequence) - 1)


def count_reusable_ahead(cached: Sequence[Position], sequence: Sequence[Position]) -> int:
    """Return how many leading positions of a prompt to read ahead are taken from the cache.

    As in `count_reusable`, but no logits are needed, so the last position is not computed again.
    """
    common = count_common(cached, sequence)
    return 0 if common < min(MIN_SHARED, len(cached), len(sequence)) else common


def count_common(first: Sequence[Position], second: Sequence[Position]) -> int:
    """Return the length of the common prefix of two sequences."""
    common = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        common += 1
    return common
