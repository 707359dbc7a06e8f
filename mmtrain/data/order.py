"""Which rows a step trains on: a pure function of seed and step, so a run resumes anywhere."""

from collections.abc import Sequence

import numpy as np

GROUPED = 32  # windows that are sorted by length together


class Order:
    """Windows of rows of like length; every epoch is shuffled anew.

    A window is what one step trains on, over all processes and accumulated batches. An
    epoch's last rows that fill no window wait for another epoch's shuffle.
    """

    def __init__(self, lengths: Sequence[int], window: int, seed: int) -> None:
        self._lengths = np.asarray(lengths)
        self._window, self._seed = window, seed
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

    @property
    def windows_per_epoch(self) -> int:
        return max(len(self._lengths) // self._window, 1)

    def window(self, step: int) -> list[int]:
        """The rows of a step, counted from 0, shortest first."""
        epoch, at = divmod(step, self.windows_per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._shuffled(epoch))
        return self._epoch[1][at]

    def _shuffled(self, epoch: int) -> list[list[int]]:
        chance = np.random.default_rng([self._seed, epoch])
        count = self.windows_per_epoch
        order = chance.permutation(len(self._lengths))
        order = np.resize(order, count * self._window)  # fewer rows than a window repeat
        windows: list[list[int]] = []
        for start in range(0, count, GROUPED):
            group = order[start * self._window : (start + GROUPED) * self._window]
            group = group[np.argsort(self._lengths[group], kind="stable")]
            windows += [part.tolist() for part in np.split(group, len(group) // self._window)]
        return [windows[index] for index in chance.permutation(count)]


def share(window: list[int], batches: int, rank: int, processes: int) -> list[list[int]]:
    """The batches of one process: a window in `batches` x `processes` equal parts."""
    size = len(window) // (batches * processes)
    parts = [window[at : at + size] for at in range(0, len(window), size)]
    return parts[rank::processes]
