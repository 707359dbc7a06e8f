"""Parts of pictures whose patches are not at consecutive positions, or attend in both directions.

With M-RoPE (Qwen2-VL), the patches of a tile have positions in two dimensions, and the text after
them continues after the longer side. With attention in both directions (Gemma 3), a tile must be
computed in one batch. Source: mtmd-helper.cpp of llama.cpp.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmtui.pipeline.sequence import Position


@dataclass(frozen=True, eq=False)
class Tile:
    """A part of a picture that is placed as a whole.

    Attributes:
        first: The number of its first patch.
        offsets: The positions of its patches at the start of a prompt, int32 (sections, patches).
        shifts: By how much each section moves with the start of the tile, int32 (sections, 1).
        length: How many positions the tile takes.
        is_causal: Whether a patch attends only to those before it.
    """

    first: int
    offsets: np.ndarray
    shifts: np.ndarray
    length: int
    is_causal: bool

    @property
    def end(self) -> int:
        """The number of the patch after its last."""
        return self.first + int(self.offsets.shape[1])

    def get_positions(self, start: int, patches: Sequence[int]) -> np.ndarray:
        """Return the positions (sections, patches) of some patches of a tile that starts there."""
        columns = [patch - self.first for patch in patches]
        positions: np.ndarray = self.offsets[:, columns] + self.shifts * start
        return positions


Tiles = Mapping[str, Sequence[Tile]]
"""The tiles of pictures by the SHA-256 of the picture; other pictures have none."""


def find_tile(tiles: Tiles, position: Position) -> Tile | None:
    """Return the tile that a patch belongs to, or None for other positions."""
    if isinstance(position, int):
        return None
    sha256, patch = position
    return next((tile for tile in tiles.get(sha256, ()) if tile.first <= patch < tile.end), None)


def count_positions(tiles: Tiles, sequence: Sequence[Position]) -> int:
    """Return the position that follows a sequence, or the start of the tile that it ends in."""
    if not tiles:
        return len(sequence)
    count = 0
    for position in sequence:
        if (tile := find_tile(tiles, position)) is None:
            count += 1
        elif not isinstance(position, int) and position[1] == tile.end - 1:
            count += tile.length
    return count


def align(tiles: Tiles, sequence: Sequence[Position], count: int) -> int:
    """Reduce `count` so that no tile of the sequence is cut after this many positions."""
    while 0 < count < len(sequence):
        position = sequence[count]
        tile = find_tile(tiles, position)
        if tile is None or isinstance(position, int) or position[1] == tile.first:
            break
        count -= 1
    return count


def split_chunk(tiles: Tiles, rest: Sequence[Position], size: int) -> Sequence[Position]:
    """Return the first `size` positions, or fewer or more so that no tile is cut.

    Only tiles that attend in both directions are kept whole.
    """
    end = min(size, len(rest))
    tile = find_tile(tiles, rest[end - 1])
    if tile is None or tile.is_causal:
        return rest[:end]
    start = align(tiles, rest, end) if end < len(rest) else end
    if start > 0:
        return rest[:start]
    return rest[: tile.end - tile.first]
