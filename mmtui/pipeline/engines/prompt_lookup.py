"""Prompt lookup decoding: draft tokens by matching n-grams of the conversation.

The model verifies a draft in one batch, so the answer does not change, only its speed. Source:
Saxena, "Prompt Lookup Decoding", 2023.
"""

from collections.abc import Sequence

from mmtui.pipeline.sequence import Position

NGRAM = 4  # tokens that must match
MAX_DRAFT = 15  # tokens of a draft; with the token before it, a batch of 16


class PromptLookup:
    """An index of the n-grams of a conversation by their last occurrence."""

    def __init__(self, sequence: Sequence[Position]) -> None:
        self._tokens: list[Position] = []
        self._follows: dict[tuple[Position, ...], int] = {}  # n-gram -> the index after it
        self._found: int | None = None
        for position in sequence:
            self.push(position)

    def push(self, position: Position) -> None:
        """Append a position and look up the n-gram that ends with it."""
        self._tokens.append(position)
        ngram = tuple(self._tokens[-NGRAM:])
        self._found = self._follows.get(ngram)
        self._follows[ngram] = len(self._tokens)

    def draft(self) -> list[int]:
        """Return the tokens after the last match, as many as matched before it."""
        if self._found is None:
            return []
        draft = []
        for position in self._tokens[self._found : self._found + self._count_matching(self._found)]:
            if not isinstance(position, int):
                break
            draft.append(position)
        return draft

    def _count_matching(self, index: int) -> int:
        """Return how many tokens before `index` equal those at the end, at most MAX_DRAFT."""
        here = len(self._tokens)
        count = NGRAM
        while count < min(MAX_DRAFT, index) and (
            self._tokens[index - count - 1] == self._tokens[here - count - 1]
        ):
            count += 1
        return count
