"""Logits -> the next token: greedy, or temperature and top-p with a seed."""

from dataclasses import dataclass

import numpy as np

from mmtui.errors import UsageError


@dataclass(frozen=True)
class Sampling:
    """`temperature` 0 is greedy. `seed` None: another answer each time."""

    temperature: float = 0.0
    top_p: float = 0.95
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise UsageError(f"the temperature is {self.temperature}; it takes a number, 0 or more")


GREEDY = Sampling()


class Sampler:
    """Takes one random number for each token, so that a seed gives the same answer on every
    device, by every engine, and however many tokens are looked at together.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._generator = np.random.default_rng(sampling.seed)

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """(batch, vocabulary) -> (batch,)."""
        if self._sampling.temperature == 0:
            return np.asarray(logits.argmax(-1))
        return np.array([self._draw(row) for row in logits])

    def _draw(self, logits: np.ndarray) -> int:
        below_best = logits.astype(np.float64) - float(logits.max())  # 0 stays 0 when divided
        with np.errstate(over="ignore"):  # far below the best, at a temperature of nearly 0
            odds = np.exp(below_best / self._sampling.temperature)
        tokens, probabilities = nucleus(odds / odds.sum(), self._sampling.top_p)
        # By number, not by probability: of two that are nearly equal, the last bit of a logit
        # would decide which comes first, and so which is drawn.
        order = tokens.argsort()
        tokens, reached = tokens[order], probabilities[order].cumsum()
        drawn = self._generator.random() * reached[-1]
        return int(tokens[np.searchsorted(reached, drawn, side="right")])


def nucleus(probabilities: np.ndarray, top_p: float) -> tuple[np.ndarray, np.ndarray]:
    """The smallest set of tokens whose probabilities reach `top_p`, the likeliest first.

    Takes (vocabulary,), returns the tokens and their probabilities.
    Source: Holtzman et al., arXiv:1904.09751. The best token is always kept.
    """
    # All below this together have less than 1 - top_p: a tenth of a percent is left to sort.
    (tokens,) = np.nonzero(probabilities >= (1 - top_p) / len(probabilities))
    tokens = tokens[np.argsort(-probabilities[tokens], kind="stable")]
    ordered = probabilities[tokens]
    kept = ordered.cumsum() - ordered < top_p
    return tokens[kept], ordered[kept]
