"""Several questions about the same pictures in one row that holds the pictures once.

A row is a shared prefix (the template and the pictures), followed by a branch for each example.
An attention mask hides the branches from each other, so that the loss is that of separate rows.
Most positions of a short row are its pictures: eight questions about one picture take a third of
the positions of eight rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmtrain.data.dataset import Example
from mmtui.pipeline.prompt import IGNORE_INDEX
from mmtui.pipeline.sequence import Position, count_common

MAX_EXAMPLES_PER_ROW = 8
MAX_ROW_BYTES = 640  # of text; short rows keep the faster attention kernel on CPUs
MAX_BRANCH_TEMPLATE_TOKENS = 16  # an upper bound of what a chat template adds to a branch

EncodedDialogue = tuple[list[Position], list[int]]  # positions and labels, of equal length


@dataclass
class Row:
    """A shared prefix and its branches, one after the other; all lists have equal length.

    Attributes:
        positions: A token id or a patch of a picture at each position.
        labels: The token to predict after each position, or IGNORE_INDEX.
        branch_ids: 0 in the shared prefix, else the number of the branch.
        position_ids: The index of each position in its own dialogue.
    """

    positions: list[Position]
    labels: list[int]
    branch_ids: list[int]
    position_ids: list[int]


def group_examples(
    examples: Sequence[Example], text_space: Callable[[int], int]
) -> list[tuple[Example, ...]]:
    """Group examples of one exchange that begin with the same pictures into rows.

    Rows are in the order of their first examples.

    Args:
        examples: The examples to group; those of another form get rows of their own.
        text_space: Returns how many positions of a row are free for text beside so many pictures.
    """
    rows: list[list[Example]] = []
    open_rows: dict[tuple[Path, ...], list[Example]] = {}
    for example in examples:
        pictures = _leading_pictures(example)
        if pictures is None:
            rows.append([example])
            continue
        row = open_rows.get(pictures, [])
        size = sum(e.text_bytes + MAX_BRANCH_TEMPLATE_TOKENS for e in [*row, example])
        is_full = len(row) >= MAX_EXAMPLES_PER_ROW
        if not row or is_full or size > min(MAX_ROW_BYTES, text_space(len(pictures))):
            open_rows[pictures] = row = []
            rows.append(row)
        row.append(example)
    return [tuple(row) for row in rows]


def _leading_pictures(example: Example) -> tuple[Path, ...] | None:
    """Return the pictures of an example of one exchange, if all come before its text."""
    content = example.turns[0][1]
    pictures = tuple(part for part in content if isinstance(part, Path))
    are_first = content[: len(pictures)] == pictures
    return pictures if pictures and are_first and len(example.turns) == 2 else None


def pack_dialogues(dialogues: Sequence[EncodedDialogue], max_length: int) -> Row:
    """Pack dialogues into a row of at most `max_length` positions.

    The shared prefix ends before the first label of any dialogue. Branches that do not fit are
    dropped.
    """
    positions, labels = dialogues[0]
    length = len(positions) if len(dialogues) == 1 else _count_shared(dialogues)
    row = Row(positions[:length], labels[:length], [0] * length, list(range(length)))
    for number, (positions, labels) in enumerate(dialogues, 1):
        branch = positions[length:]
        if len(row.positions) + len(branch) <= max_length:
            row.positions += branch
            row.labels += labels[length:]
            row.branch_ids += [number] * len(branch)
            row.position_ids += range(length, len(positions))
    return row


def _count_shared(dialogues: Sequence[EncodedDialogue]) -> int:
    """Return the number of leading positions that all dialogues share and that have no label."""
    (first, _), *others = dialogues
    equal = (min(count_common(first, positions), len(positions) - 1) for positions, _ in others)
    unlabelled = (sum(1 for _ in takewhile(IGNORE_INDEX.__eq__, labels)) for _, labels in dialogues)
    return min(*equal, *unlabelled)


def branch_attention_mask(branch_ids: Tensor) -> Tensor:
    """Return the causal mask in which a position attends to the prefix and its own branch.

    Args:
        branch_ids: (batch, length), as those of a `Row`.

    Returns:
        (batch, 1, length, length) booleans: True where a query (third axis) attends to a key.
    """
    query, key = branch_ids[:, :, None], branch_ids[:, None, :]
    length = branch_ids.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=branch_ids.device).tril()
    return (causal & ((key == 0) | (key == query)))[:, None]


@torch.no_grad()
def supports_branches(language: Any) -> bool:
    """Return whether a language model keeps branches separate, by a trial on seven tokens.

    Some attention layers ignore a custom mask or compute their own position ids; convolutions
    know no mask.
    """
    was_training = language.training
    language.train()  # on a CPU, eval() makes bitsandbytes repack 4-bit weights for good
    try:
        return _separates_branches(language)
    except (TypeError, ValueError, RuntimeError):  # the mask or the position ids are refused
        return False
    finally:
        language.train(was_training)


def _separates_branches(language: Any) -> bool:
    """Compare the last logits of a branched row with those of its dialogue alone."""
    ids = torch.tensor([[1, 2, 3, 4, 5, 6, 7]], device=language.device)
    branch_ids = torch.tensor([[0, 0, 0, 1, 1, 2, 2]], device=language.device)
    position_ids = torch.tensor([[0, 1, 2, 3, 4, 3, 4]], device=language.device)
    branched = language(
        input_ids=ids,
        attention_mask=branch_attention_mask(branch_ids),
        position_ids=position_ids,
        use_cache=False,
    ).logits[0, -1]
    alone = language(input_ids=ids[:, [0, 1, 2, 5, 6]], use_cache=False).logits[0, -1]
    mixed = language(input_ids=ids, use_cache=False).logits[0, -1]
    return bool((branched - alone).norm() < 0.2 * (mixed - alone).norm())
