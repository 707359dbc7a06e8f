"""Detection of endless repetition, which small models fall into."""

import numpy as np

MAX_PERIOD = 256  # tokens of the repeated text: a long paragraph
# Tables, arrays of zeros and drawings repeat less often than this.
MIN_REPEATS = 10
MIN_TOKENS = 128


class Repetition:
    """Detects when the tokens of an answer repeat."""

    def __init__(self) -> None:
        self._recent = np.full(MAX_PERIOD, -1)  # the last tokens, the newest first
        # For each period: how many of the last tokens equal the token one period before them.
        self._matches = np.zeros(MAX_PERIOD, int)
        # The first copy of a repeated text matches nothing before it.
        periods = np.arange(1, MAX_PERIOD + 1)
        self._limits = np.maximum(MIN_TOKENS, MIN_REPEATS * periods) - periods

    def push(self, token: int) -> bool:
        """Add the next token; return whether the answer repeats.

        It does if it ends with at least MIN_REPEATS copies of a sequence, of at least MIN_TOKENS in
        total.
        """
        self._matches += 1
        self._matches *= self._recent == token
        self._recent[1:] = self._recent[:-1]
        self._recent[0] = token
        return bool((self._matches >= self._limits).any())
