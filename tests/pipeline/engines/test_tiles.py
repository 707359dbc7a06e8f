"""Tiles of pictures in a prompt: their positions, and where a prompt may be cut."""

import numpy as np

from mmtui.pipeline.engines.tiles import Tile, align, count_positions, find_tile, split_chunk


def make_tile(first: int, is_causal: bool = True) -> Tile:
    """Return a tile of 2 x 3 patches, which takes 3 positions."""
    rows, columns = np.divmod(np.arange(6), 3)
    offsets = np.array([np.zeros(6), rows, columns, np.zeros(6)], np.int32)
    return Tile(first, offsets, np.array([[1], [1], [1], [0]], np.int32), 3, is_causal)


TILES = {"a": (make_tile(0), make_tile(6))}
A = [("a", patch) for patch in range(12)]


def test_patches_are_placed_after_the_text_before_them():
    places = make_tile(6).get_positions(10, [6, 10])
    assert places.T.tolist() == [[10, 10, 10, 0], [10, 11, 11, 0]]


def test_a_patch_belongs_to_one_tile():
    assert find_tile(TILES, 5) is None
    assert find_tile(TILES, ("b", 5)) is None
    assert [find_tile(TILES, place).first for place in A] == [0] * 6 + [6] * 6
    assert find_tile(TILES, ("a", 12)) is None


def test_text_continues_after_the_longer_side_of_a_tile():
    sequence = [1, 2, *A[:6], 3, *A[6:], 4, ("b", 0)]
    assert count_positions({}, sequence) == len(sequence)
    assert count_positions(TILES, sequence) == 2 + 3 + 1 + 3 + 2
    assert count_positions(TILES, sequence[:5]) == 2  # within a tile: where it starts


def test_a_cache_is_cut_before_a_tile():
    sequence = [1, 2, *A, 3]
    counts = [align(TILES, sequence, count) for count in range(len(sequence) + 1)]
    assert counts == [0, 1, *[2] * 6, *[8] * 6, 14, 15]


def test_a_tile_that_attends_in_both_directions_is_one_chunk():
    both = {"a": (make_tile(0, is_causal=False), make_tile(6, is_causal=False))}
    sequence = [1, 2, *A, 3]
    assert split_chunk(TILES, sequence, 5) == sequence[:5]
    assert split_chunk(both, sequence, 5) == sequence[:2]
    assert split_chunk(both, sequence[2:], 5) == A[:6]
    assert split_chunk(both, sequence[2:], 8) == A[:6]
    assert split_chunk(both, sequence[2:], 12) == A
    assert split_chunk(both, A, 100) == A
    assert split_chunk(both, sequence, 14) == sequence[:14]
