"""Sampling of the next token among those that a grammar allows."""

import numpy as np

from mmtui.pipeline.engines.engine import Grammar
from mmtui.pipeline.engines.sampling import Sampler, Sampling


class GrammarSampler(Sampler):
    """Samples the tokens of one answer, each of which is appended to it."""

    def __init__(self, sampling: Sampling, grammar: Grammar) -> None:
        super().__init__(sampling)
        self._grammar, self._is_greedy = grammar, sampling.temperature == 0

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Sample a token (1,) from logits (1, vocabulary), as `Sampler` does."""
        if self._is_greedy:  # the most probable token is usually allowed
            tokens = super().__call__(logits)
            if self._grammar.allows(int(tokens[0])):
                self._grammar.accept(int(tokens[0]))
                return tokens
        tokens = super().__call__(self._grammar.restrict(logits[0])[None])
        self._grammar.accept(int(tokens[0]))
        return tokens
