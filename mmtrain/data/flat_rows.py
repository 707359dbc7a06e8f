"""The rows of a batch as one sequence: without padding, and with their common prefix only once.

Linear layers and norms compute each position by itself, so they read this sequence. Attention
alone needs rows; `mmtrain.model.row_attention` gathers them from the sequence and scatters the
result back. Rows begin with the same template, which is a fifth of the positions of short rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate, takewhile
from typing import Any

import torch
from torch import Tensor

from mmtrain.data.shared_prefix import Row
from mmtui.pipeline.prompt import IGNORE_INDEX


@dataclass(frozen=True)
class FlatRows:
    """A batch of `rows` rows of at most `length` positions as one sequence of N positions.

    Attributes:
        tokens: (N,) the token id of each position; 0 at patches of pictures.
        patch_slots: (M,) where in the sequence the patches are.
        patches: (M,) which patch each of these is, counted over all pictures of the batch.
        position_ids: (1, N) the index of each position in its own dialogue.
        label_slots: (K,) where in the sequence the positions with a label are.
        labels: (K,) the labels.
        gather: (rows * length,) where in the sequence each position of the padded rows is.
        scatter: (N,) where in the padded rows each position of the sequence is.
        is_copy: (rows * length,) whether a position of the padded rows is padding, or a further
            copy of the common prefix.
        common: Positions of the common prefix.
        rows: Number of rows.
        length: Positions of the longest row.
    """

    tokens: Tensor
    patch_slots: Tensor
    patches: Tensor
    position_ids: Tensor
    label_slots: Tensor
    labels: Tensor
    gather: Tensor
    scatter: Tensor
    is_copy: Tensor
    common: int
    rows: int
    length: int

    def to(self, device: torch.device) -> "FlatRows":
        """Return a copy on a device, which does not wait for the device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "FlatRows":
        """Return a copy in pinned memory."""
        return self._map(Tensor.pin_memory)

    def _map(self, convert: Callable[[Tensor], Tensor]) -> "FlatRows":
        converted: dict[str, Any] = {
            field.name: convert(value)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **converted)


def flatten(rows: Sequence[Row], pictures: Mapping[str, int], patches: int) -> FlatRows:
    """Lay the rows of a batch out as one sequence.

    Args:
        rows: The rows.
        pictures: The number of each picture in the batch, by its key.
        patches: Patches of a picture.
    """
    common = _count_common(rows)
    length = max(len(row.positions) for row in rows)
    kept = [row.positions[common if number else 0 :] for number, row in enumerate(rows)]
    positions = [position for part in kept for position in part]
    starts = [0, *accumulate(map(len, kept))]
    gather = torch.zeros(len(rows), length, dtype=torch.long)
    is_copy = torch.ones(len(rows), length, dtype=torch.bool)
    scatter = []
    for number, part in enumerate(kept):
        first = common if number else 0
        gather[number, :common] = torch.arange(common)
        gather[number, first : first + len(part)] = torch.arange(starts[number], starts[number + 1])
        is_copy[number, first : first + len(part)] = False
        scatter.append(torch.arange(first, first + len(part)) + number * length)
    labels = _join([row.labels for row in rows], common)
    label_slots = (labels != IGNORE_INDEX).nonzero().squeeze(1)
    slots = [(at, part) for at, part in enumerate(positions) if not isinstance(part, int)]
    return FlatRows(
        tokens=torch.tensor([part if isinstance(part, int) else 0 for part in positions]),
        patch_slots=torch.tensor([at for at, _ in slots], dtype=torch.long),
        patches=torch.tensor(
            [pictures[key] * patches + patch for _, (key, patch) in slots], dtype=torch.long
        ),
        position_ids=_join([row.position_ids for row in rows], common)[None],
        label_slots=label_slots,
        labels=labels[label_slots],
        gather=gather.flatten(),
        scatter=torch.cat(scatter),
        is_copy=is_copy.flatten(),
        common=common,
        rows=len(rows),
        length=length,
    )


def make_equal_rows(rows: int, length: int, labelled: int) -> FlatRows:
    """Lay out rows of equal length without a common prefix, to measure what a batch takes.

    Args:
        rows: The number of rows.
        length: Positions of each.
        labelled: How many positions, the first ones, have a label.
    """
    slots = torch.arange(rows * length)
    return FlatRows(
        tokens=torch.zeros_like(slots),
        patch_slots=slots[:0],
        patches=slots[:0],
        position_ids=torch.arange(length).repeat(rows)[None],
        label_slots=slots[:labelled],
        labels=torch.zeros(labelled, dtype=torch.long),
        gather=slots,
        scatter=slots,
        is_copy=torch.zeros_like(slots, dtype=torch.bool),
        common=0,
        rows=rows,
        length=length,
    )


def _count_common(rows: Sequence[Row]) -> int:
    """Return the length of the rows' common prefix, as far as it is in the prefix of each row.

    It ends before the first label. A single row has no common prefix.
    """
    if len(rows) == 1:
        return 0
    equal = zip(*(row.positions for row in rows), strict=False)
    count = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, equal))
    for row in rows:
        outside = (
            at
            for at, (label, branch) in enumerate(zip(row.labels, row.branch_ids, strict=True))
            if label != IGNORE_INDEX or branch
        )
        count = min(count, next(outside, len(row.labels)))
    return count


def _join(values: Sequence[list[int]], common: int) -> Tensor:
    """Return the values of all rows, those of the common prefix only once."""
    return torch.tensor([v for n, row in enumerate(values) for v in row[common if n else 0 :]])
