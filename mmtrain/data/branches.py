"""Questions about the same pictures are read as one row: what they share once, then each apart.

Pictures and the template before them are most of a short row; eight questions about a picture
take a third of the positions that eight rows do, and the loss is the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmtrain.data.examples import Example
from mmtui.pipeline.prompt import IGNORE
from mmtui.pipeline.sequence import Position, common_length

TOGETHER = 8  # examples in a row
ROW = 640  # bytes of them, so that attention on a CPU stays what is fastest on short rows
BRANCH_TEMPLATE = 16  # positions that a chat template may put into a branch

Dialogue = tuple[list[Position], list[int]]


@dataclass
class Row:
    """A trunk and its branches, one after the other.

    `targets`: the token to predict after each position, or IGNORE. `branches`: 0 in the trunk,
    else the number of the branch. `places`: each position's in the dialogue that it belongs to.
    """

    positions: list[Position]
    targets: list[int]
    branches: list[int]
    places: list[int]


def gathered(examples: Sequence[Example], room: Callable[[int], int]) -> list[tuple[Example, ...]]:
    """Examples of one exchange that begin with the same pictures, in the order of the first.

    `room`: how many positions are left beside so many pictures.
    """
    rows: list[list[Example]] = []
    open_rows: dict[tuple[Path, ...], list[Example]] = {}
    for example in examples:
        if (pictures := _first(example)) is None:
            rows.append([example])
            continue
        row = open_rows.get(pictures, [])
        most = sum(other.size + BRANCH_TEMPLATE for other in [*row, example])
        if not 0 < len(row) < TOGETHER or most > min(ROW, room(len(pictures))):
            open_rows[pictures] = row = []
            rows.append(row)
        row.append(example)
    return [tuple(row) for row in rows]


def _first(example: Example) -> tuple[Path, ...] | None:
    """The pictures, of an example of one exchange in which nothing is before them."""
    content = example.turns[0][1]
    pictures = tuple(part for part in content if isinstance(part, Path))
    is_first = content[: len(pictures)] == pictures
    return pictures if pictures and is_first and len(example.turns) == 2 else None


def joined(dialogues: Sequence[Dialogue], limit: int) -> Row:
    """Dialogues in one row of `limit` positions; a branch that does not fit is left out.

    Their trunk ends before the first target of any.
    """
    positions, targets = dialogues[0]
    length = len(positions) if len(dialogues) == 1 else _common(dialogues)
    row = Row(positions[:length], targets[:length], [0] * length, list(range(length)))
    for number, (positions, targets) in enumerate(dialogues, 1):
        branch = positions[length:]
        if len(row.positions) + len(branch) <= limit:
            row.positions += branch
            row.targets += targets[length:]
            row.branches += [number] * len(branch)
            row.places += range(length, len(positions))
    return row


def _common(dialogues: Sequence[Dialogue]) -> int:
    (first, _), *others = dialogues
    alike = (min(common_length(first, positions), len(positions) - 1) for positions, _ in others)
    untrained = (sum(1 for _ in takewhile(IGNORE.__eq__, targets)) for _, targets in dialogues)
    return min(*alike, *untrained)


def attended(branches: Tensor) -> Tensor:
    """Which positions each may look at: (batch, length) -> booleans (batch, 1, length, length).

    Earlier ones of the trunk and of its own branch.
    """
    own, other = branches[:, :, None], branches[:, None, :]
    length = branches.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=branches.device).tril()
    return (earlier & ((other == 0) | (other == own)))[:, None]


@torch.no_grad()
def keeps_apart(language: Any) -> bool:
    """Whether a model looks where `attended` lets it, which is tried on seven tokens.

    Some kinds of attention take another mask, or places of their own; a convolution takes none.
    """
    was_training = language.training
    language.train()  # bitsandbytes packs 4-bit weights on a CPU for good when it evaluates
    try:
        return _tried(language)
    except (TypeError, ValueError, RuntimeError):  # it takes no such mask, or no places
        return False
    finally:
        language.train(was_training)


def _tried(language: Any) -> bool:
    ids = torch.tensor([[1, 2, 3, 4, 5, 6, 7]], device=language.device)
    branches = torch.tensor([[0, 0, 0, 1, 1, 2, 2]], device=language.device)
    places = torch.tensor([[0, 1, 2, 3, 4, 3, 4]], device=language.device)
    branched = language(
        input_ids=ids, attention_mask=attended(branches), position_ids=places, use_cache=False
    ).logits[0, -1]
    alone = language(input_ids=ids[:, [0, 1, 2, 5, 6]], use_cache=False).logits[0, -1]
    mixed = language(input_ids=ids, use_cache=False).logits[0, -1]
    return bool((branched - alone).norm() < 0.2 * (mixed - alone).norm())
