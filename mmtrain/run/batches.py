"""Load the batches of each step while the steps before it run."""

import signal
from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import multiprocessing
from torch.utils.data import DataLoader, Dataset

from mmtui.errors import MmtuiError

PREFETCHED_STEPS = 4


def load_batches(
    make: Callable[[int], list[Any]], steps: range, *, in_background: bool, pins: bool
) -> Generator[list[Any]]:
    """Yield the batches of each step.

    Closing the generator ends the process in the background.

    Args:
        make: Returns the batches of a step. In the background, it must not use a GPU: CUDA does
            not work in a forked process.
        steps: The steps.
        in_background: Make batches in a forked process. The one that trains a model on a GPU has
            to launch operations without a pause, or the GPU waits.
        pins: Yield tensors in pinned memory, from which a copy to a GPU does not wait for it.

    Raises:
        MmtuiError: A batch can't be made.
    """
    loader = DataLoader(
        _StepBatches(make, steps),
        batch_size=None,
        num_workers=1 if in_background else 0,
        prefetch_factor=PREFETCHED_STEPS if in_background else None,
        multiprocessing_context="fork" if in_background else None,
        pin_memory=pins,  # in a thread of this process
        worker_init_fn=_init_process if in_background else None,
        generator=torch.Generator(),  # the loader draws a number, and not from the run's generator
    )
    for batches in loader:
        if isinstance(batches, MmtuiError):
            raise batches
        yield batches


def _init_process(_: int) -> None:
    """Prepare the process in the background.

    Signals that are sent to all processes of a run must not end this one before the process that
    trains has taken its last step. By default, each tensor would need an open file, and a step can
    have more tensors than a process can open files.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    multiprocessing.set_sharing_strategy("file_system")  # type: ignore[no-untyped-call]


class _StepBatches(Dataset[Any]):
    """The batches of each step, or the error instead, which keeps its hint between processes."""

    def __init__(self, make: Callable[[int], list[Any]], steps: range) -> None:
        self._make, self._steps = make, steps

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> list[Any] | MmtuiError:
        try:
            return self._make(self._steps[index])
        except MmtuiError as error:
            return error
