"""An answer that repeats itself without end: small models fall into loops that they never leave."""

import numpy as np

MAX_PERIOD = 256  # tokens of what is repeated: a long paragraph
# A loop goes on for ever; rows of a table, an array of zeros or a drawing end before this.
MIN_REPEATS = 10
MIN_TOKENS = 128


class Repetition:
    """Tells when the tokens of an answer have become a loop."""

    def __init__(self) -> None:
        self._recent = np.full(MAX_PERIOD, -1)  # the last tokens, the newest first
        self._periods = np.arange(1, MAX_PERIOD + 1)
        # For each period, how many of the last tokens are equal to the one that long before them.
        self._matches = np.zeros(MAX_PERIOD, int)

    def push(self, token: int) -> bool:
        """Take the next token; whether the answer is a loop now.

        It is one if its last tokens are the same sequence MIN_REPEATS times or more, and at least
        MIN_TOKENS in all.
        """
        self._matches = np.where(self._recent == token, self._matches + 1, 0)
        self._recent = np.concatenate(([token], self._recent[:-1]))
        repeated = self._matches + self._periods  # the first time matches nothing
        least = np.maximum(MIN_TOKENS, MIN_REPEATS * self._periods)
        return bool((repeated >= least).any())
