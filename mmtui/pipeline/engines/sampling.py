"""Sampling of the next token: greedy, or by temperature and top-p."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mmtui.errors import InputError, UsageError

_MIN_TEMPERATURE = 1e-30  # lower ones are 0 in single precision


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters.

    Attributes:
        temperature: Divides the logits; 0 samples greedily.
        top_p: Total probability of the tokens that are drawn from (nucleus sampling).
        seed: Seed of the random numbers; None draws a new one for each answer.

    Raises:
        UsageError: The temperature is negative or not finite, or `top_p` is not in (0, 1].
    """

    temperature: float = 0.0
    top_p: float = 0.95
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise UsageError(f"the temperature is {self.temperature}; it must be 0 or more")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p is {self.top_p}; it must be above 0, and at most 1")


GREEDY = Sampling()


class Sampler:
    """Samples tokens from logits.

    It draws one random number for each token, so that a seed gives the same answer on every device
    and engine, and for every length of a prompt lookup draft.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Sample a token (batch,) from each row of logits (batch, vocabulary).

        Raises:
            InputError: A logit is not a number, because weights are damaged.
        """
        best = logits.argmax(-1)
        for row, token in enumerate(best.tolist()):
            if math.isnan(logits.item(row, token)):  # NaN is the largest to `argmax`
                raise InputError(
                    "the model computes no numbers: its weights are damaged",
                    "download or copy the model again",
                )
        if self._sampling.temperature == 0:
            return np.asarray(best)
        return np.array([self._draw(row) for row in logits])

    @cached_property
    def _generator(self) -> "np.random.Generator":
        """The random numbers; greedy sampling does not import numpy.random."""
        return np.random.default_rng(self._sampling.seed)

    def _draw(self, logits: np.ndarray) -> int:
        temperature, top_p = self._sampling.temperature, self._sampling.top_p
        highest = logits.max()
        # Single precision is enough to find the few tokens that can be drawn, and to sum the rest.
        odds = np.exp((logits - highest) / max(temperature, _MIN_TEMPERATURE))
        total = float(odds.sum(dtype=np.float64))
        # Tokens below this threshold sum to less than 1 - top_p. Half of it leaves room for errors.
        threshold = total * (1 - top_p) / len(odds)
        (candidates,) = np.nonzero(odds >= threshold / 2)
        below_best = logits[candidates].astype(np.float64) - float(highest)
        with np.errstate(over="ignore"):  # far below the best, at a temperature of nearly 0
            exact = np.exp(below_best / temperature)
        total += exact.sum() - odds[candidates].sum(dtype=np.float64)
        chosen, probabilities = select_nucleus(exact / total, top_p)
        tokens = candidates[chosen]
        # Sort by token id. Sorted by probability, the order of two nearly equal tokens, and so
        # which of them is drawn, would depend on the last bit of a logit.
        order = tokens.argsort()
        tokens, reached = tokens[order], probabilities[order].cumsum()
        drawn = self._generator.random() * reached[-1]
        return int(tokens[np.searchsorted(reached, drawn, side="right")])


def select_nucleus(probabilities: np.ndarray, top_p: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest set of tokens whose probabilities sum to `top_p`.

    The most probable token is always in it. Source: Holtzman et al., arXiv:1904.09751.

    Args:
        probabilities: The probabilities of tokens (n,); tokens that are too improbable to be in
            the set may be left out.
        top_p: The probability of the set.

    Returns:
        The tokens and their probabilities, the most probable first.
    """
    tokens = np.argsort(-probabilities, kind="stable")
    ordered = probabilities[tokens]
    kept = ordered.cumsum() - ordered < top_p
    return tokens[kept], ordered[kept]
