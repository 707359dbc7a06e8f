"""What a KV cache is keyed by: a prompt as a sequence of positions."""

from collections.abc import Sequence

from mmtui.pipeline.prompt import Prompt
from mmtui.pipeline.vision.images import Picture

# What one position of a sequence holds: a token, or the n-th patch of a picture.
Position = int | tuple[str, int]

LEAST_SHARED = 64  # positions with another conversation for which its cache is kept
PREFILL_CHUNK = 128  # positions read at once; they take seconds with a large model on a CPU


def positions(prompt: Prompt, patches: int) -> list[Position]:
    """A prompt with every image slot opened into its patches."""
    opened: list[Position] = []
    for part in prompt:
        if isinstance(part, Picture):
            opened.extend((part.sha256, patch) for patch in range(patches))
        else:
            opened.append(part)
    return opened


def reusable(
    held: Sequence[Position], wanted: Sequence[Position], prompt: Sequence[Position] = ()
) -> int:
    """How many leading positions of `wanted` a cache of `held` saves computing.

    The last one is fed anew: its logits are needed. Only those after `prompt`, the last one that
    was read, are kept, so that all of it counts where it comes again: read alone, its last position
    is rounded otherwise than among the others. What another conversation happens to begin with, its
    template, is not worth it: positions that are read in other batches differ in their last bits,
    with which the same seed gives another answer.
    """
    if list(wanted) == list(prompt) == list(held[: len(wanted)]):
        return len(wanted)
    common = common_length(held, wanted)
    if common < min(LEAST_SHARED, len(held)):
        return 0
    return min(common, len(wanted) - 1)


def common_length(one: Sequence[Position], other: Sequence[Position]) -> int:
    """How many leading positions two sequences share."""
    common = 0
    for here, there in zip(one, other, strict=False):
        if here != there:
            break
        common += 1
    return common
