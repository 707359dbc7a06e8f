"""Which rows a step trains on: a pure function of seed and step, so a run resumes anywhere."""

from collections.abc import Sequence

import numpy as np

BATCHES_PER_GROUP = 32  # batches whose rows are sorted by length together


class LengthGroupedSampler:
    """Draws global batches of rows of similar length; every epoch is shuffled anew.

    A global batch is what one step trains on, over all processes and accumulated batches. The
    rows that remain at the end of an epoch and do not fill a batch are left out of that epoch.

    Args:
        lengths: The length of each row, in any unit.
        batch_size: Rows of a global batch.
        seed: Decides the order, together with the epoch.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = np.asarray(lengths)
        self._batch_size, self._seed = batch_size, seed
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

    @property
    def batches_per_epoch(self) -> int:
        """The number of steps of an epoch, at least one."""
        return max(len(self._lengths) // self._batch_size, 1)

    def batch(self, step: int) -> list[int]:
        """Return the indexes of the rows of a step, shortest first; steps count from 0."""
        epoch, index = divmod(step, self.batches_per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._shuffle(epoch))
        return self._epoch[1][index]

    def _shuffle(self, epoch: int) -> list[list[int]]:
        rng = np.random.default_rng([self._seed, epoch])
        count, size = self.batches_per_epoch, self._batch_size
        order = rng.permutation(len(self._lengths))
        order = np.resize(order, count * size)  # fewer rows than a batch: they are repeated
        batches: list[list[int]] = []
        for start in range(0, count, BATCHES_PER_GROUP):
            group = order[start * size : (start + BATCHES_PER_GROUP) * size]
            group = group[np.argsort(self._lengths[group], kind="stable")]
            batches += [batch.tolist() for batch in np.split(group, len(group) // size)]
        return [batches[index] for index in rng.permutation(count)]


def split_batch(
    indexes: list[int], micro_batches: int, rank: int, processes: int
) -> list[list[int]]:
    """Split a global batch equally; return the micro-batches of the process `rank`."""
    size = len(indexes) // (micro_batches * processes)
    parts = [indexes[start : start + size] for start in range(0, len(indexes), size)]
    return parts[rank::processes]
