"""Logits -> the next token: greedy, or temperature and top-p with a seed."""

from dataclasses import dataclass

import torch
from torch import Tensor

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
    """Draws on the CPU, so that a seed gives the same answer on every device."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._generator = torch.Generator()
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)

    def __call__(self, logits: Tensor) -> Tensor:
        """(batch, vocabulary) -> (batch,) on the device of the logits."""
        if self._sampling.temperature == 0:
            return logits.argmax(-1)
        logits_64 = logits.cpu().double()
        below_best = logits_64 - logits_64.amax(-1, keepdim=True)  # 0 stays 0 at any temperature
        probabilities = (below_best / self._sampling.temperature).softmax(-1)
        kept = nucleus(probabilities, self._sampling.top_p)
        return torch.multinomial(kept, 1, generator=self._generator)[:, 0].to(logits.device)


def nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Zero all but the smallest set of tokens whose probabilities reach `top_p`.

    Source: Holtzman et al., arXiv:1904.09751. The best token is always kept.
    """
    ordered, order = probabilities.sort(-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(probabilities).scatter(-1, order, ordered * (before < top_p))
