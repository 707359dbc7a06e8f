"""Detection of endless repetition, which small models fall into."""

import numpy as np

MAX_PERIOD = 256  # tokens of the repeated text: a long paragraph
# Tables, arrays of zeros and drawings repeat less often than this.
MIN_REPEATS = 10
MIN_TOKENS = 128


class Repetition:
    """Detects when the tokens of an answer repeat."""

    def __init__(self) -> None:
        self._new: list[int] = []  # tokens that are not compared yet
        self._recent = np.full(MAX_PERIOD, -1)  # the last tokens, the newest first
        # For each period: how many of the last tokens equal the token one period before them.
        self._matches = np.zeros(MAX_PERIOD, int)
        # The first copy of a repeated text matches nothing before it.
        periods = np.arange(1, MAX_PERIOD + 1)
        self._limits = np.maximum(MIN_TOKENS, MIN_REPEATS * periods) - periods
        self._margin = int(self._limits.min())

    def push(self, token: int) -> bool:
        """Add the next token; return whether the answer repeats.

        It does if it ends with at least MIN_REPEATS copies of a sequence, of at least MIN_TOKENS in
        total. As matches grow by at most one with each token, tokens are compared only once they
        can make the answer repeat, about a hundred at a time.
        """
        self._new.append(token)
        if len(self._new) < self._margin:
            return False
        for new in self._new:
            self._matches += 1
            self._matches *= self._recent == new
            self._recent[1:] = self._recent[:-1]
            self._recent[0] = new
        self._new.clear()
        self._margin = int((self._limits - self._matches).min())
        return self._margin <= 0
