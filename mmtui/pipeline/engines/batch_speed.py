"""Whether several sequences are decoded faster in one batch or each alone.

A batch reads the weights once for all of its sequences, but llama.cpp's kernels for a few rows are
slow for some types of weights: on a processor with AVX-512, Q8_0 takes as long for a batch of two
tokens as for three and a half tokens alone, whereas BF16 takes 1.8 times as long as for one.
"""

_RISE = 0.2  # the weight of a measurement that is slower than the estimate: others use the cores
_RETRY_EVERY = 100  # decisions, after which the slower way is measured again


class BatchSpeed:
    """Estimates how long batches take, by the number of their sequences."""

    def __init__(self) -> None:
        """Start without estimates."""
        self._seconds: dict[int, float] = {}
        self._decisions = 0

    def add(self, count: int, seconds: float) -> None:
        """Add a measurement.

        Args:
            count: How many sequences were decoded, with one token of each.
            seconds: How long that took.
        """
        estimate = self._seconds.get(count, seconds)
        self._seconds[count] = min(seconds, estimate + _RISE * (seconds - estimate))

    def is_faster_together(self, count: int) -> bool:
        """Return whether to decode this many sequences in one batch.

        What has not been measured is tried, and the slower way is tried again now and then.
        """
        if count == 1 or count not in self._seconds:
            return True
        if 1 not in self._seconds:
            return False
        self._decisions += 1
        is_faster = self._seconds[count] <= count * self._seconds[1]
        return is_faster != (self._decisions % _RETRY_EVERY == 0)
