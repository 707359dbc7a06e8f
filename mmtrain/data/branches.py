"""Questions about the same pictures are read as one row: what they share once, then each apart.

Pictures and the template before them are most of a short row; eight questions about a picture
take a third of the positions that eight rows do, and the loss is the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import torch
from torch import Tensor

from mmtrain.data.examples import Example
from mmtui.pipeline.prompt import IGNORE
from mmtui.pipeline.sequence import Position

TOGETHER = 8  # examples in a row
ROW = 640  # characters of them, so that attention on a CPU stays what is fastest on short rows


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


def gathered(examples: Sequence[Example]) -> list[tuple[Example, ...]]:
    """Examples of one exchange about the same pictures together, in the order of the first."""
    rows: list[list[Example]] = []
    open_rows: dict[tuple[Path, ...], list[Example]] = {}
    for example in examples:
        if not example.pictures or len(example.turns) != 2:
            rows.append([example])
            continue
        row = open_rows.get(key := tuple(example.pictures), [])
        size = sum(other.characters for other in row) + example.characters
        if not 0 < len(row) < TOGETHER or size > ROW:
            open_rows[key] = row = []
            rows.append(row)
        row.append(example)
    return [tuple(row) for row in rows]


def joined(dialogues: Sequence[tuple[list[Position], list[int]]], limit: int) -> Row:
    """Dialogues, as positions and targets, in one row of `limit` positions.

    Their trunk ends before the first target of any. Branches beyond the limit are left out.
    """
    (positions, targets), *others = dialogues
    trunk = _common(dialogues) if others else len(positions)
    row = Row(positions[:trunk], targets[:trunk], [0] * trunk, list(range(trunk)))
    for number, (positions, targets) in enumerate(dialogues if others else [], 1):
        branch = positions[trunk:]
        if len(row.positions) + len(branch) > limit:
            break
        row.positions += branch
        row.targets += targets[trunk:]
        row.branches += [number] * len(branch)
        row.places += range(trunk, len(positions))
    return row


def _common(dialogues: Sequence[tuple[list[Position], list[int]]]) -> int:
    def alike() -> Iterator[bool]:
        for parts in zip(*(positions for positions, _ in dialogues), strict=False):
            yield len(set(parts)) == 1

    same = sum(takewhile(bool, alike()))
    untrained = (sum(1 for _ in takewhile(IGNORE.__eq__, targets)) for _, targets in dialogues)
    return min(same, *untrained)


def attended(branches: Tensor) -> Tensor:
    """Which positions each may look at: (batch, length) -> booleans (batch, 1, length, length).

    Earlier ones of the trunk and of its own branch.
    """
    own, other = branches[:, :, None], branches[:, None, :]
    length = branches.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=branches.device).tril()
    return (earlier & ((other == 0) | (other == own)))[:, None]
