"""Prompt lookup decoding: draft tokens by matching n-grams of the conversation.

The model verifies a draft in one batch, so the answer does not change, only its speed. Source:
Saxena, "Prompt Lookup Decoding", 2023.
"""

from collections.abc import Sequence

from mmtui.pipeline.sequence import Position

NGRAM_SIZE = 4  # tokens that must match
MAX_DRAFT = 15  # tokens of a draft; with the token before it, a batch of 16


class PromptLookup:
    """An index of the n-grams of a conversation by their last occurrence."""

    def __init__(self, sequence: Sequence[Position]) -> None:
        """Index the positions of a prompt."""
        self._positions: list[Position] = []
        self._next_index: dict[tuple[Position, ...], int] = {}  # n-gram -> the index after it
        self._match: int | None = None  # the index after the last occurrence of the current n-gram
        for position in sequence:
            self.push(position)

    def push(self, position: Position) -> None:
        """Append a position and look up the n-gram that ends with it."""
        self._positions.append(position)
        ngram = tuple(self._positions[-NGRAM_SIZE:])
        self._match = self._next_index.get(ngram)
        self._next_index[ngram] = len(self._positions)

    def draft(self) -> list[int]:
        """Return the tokens that follow the last match, as many as match before it."""
        if self._match is None:
            return []
        draft = []
        end = self._match + self._count_matching(self._match)
        for position in self._positions[self._match : end]:
            if not isinstance(position, int):
                break
            draft.append(position)
        return draft

    def _count_matching(self, index: int) -> int:
        """Return how many tokens before `index` equal those at the end, at most MAX_DRAFT."""
        end = len(self._positions)
        count = NGRAM_SIZE
        while count < min(MAX_DRAFT, index) and (
            self._positions[index - count - 1] == self._positions[end - count - 1]
        ):
            count += 1
        return count
