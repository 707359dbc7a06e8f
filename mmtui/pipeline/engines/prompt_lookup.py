"""Prompt lookup: what an answer quotes, it will go on quoting.

Source: Saxena, "Prompt Lookup Decoding", 2023. A draft is checked by the model in one batch, so
that the answer is the same as without; only the time it takes differs.
"""

from collections.abc import Sequence

from mmtui.pipeline.sequence import Position

NGRAM = 4  # tokens that must have been there before
LONGEST = 15  # a draft; with the token before it, a batch of 16


class Lookup:
    """The tokens of a conversation so far, and where each run of `NGRAM` of them was last."""

    def __init__(self, sequence: Sequence[Position]) -> None:
        self._tokens: list[Position] = []
        self._follows: dict[tuple[Position, ...], int] = {}  # n-gram -> the place after it
        self._found: int | None = None
        for position in sequence:
            self.push(position)

    def push(self, position: Position) -> None:
        self._tokens.append(position)
        ngram = tuple(self._tokens[-NGRAM:])
        self._found = self._follows.get(ngram)
        self._follows[ngram] = len(self._tokens)

    def draft(self) -> list[int]:
        """What may come next: as many tokens as agreed before, for quotes go on as they began."""
        if self._found is None:
            return []
        draft = []
        for position in self._tokens[self._found : self._found + self._agreement(self._found)]:
            if not isinstance(position, int):
                break
            draft.append(position)
        return draft

    def _agreement(self, place: int) -> int:
        """How many tokens before `place` are those at the end, up to LONGEST."""
        here = len(self._tokens)
        count = NGRAM
        while count < min(LONGEST, place) and (
            self._tokens[place - count - 1] == self._tokens[here - count - 1]
        ):
            count += 1
        return count
