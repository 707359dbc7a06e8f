"""Batches that another process makes while a GPU computes."""

import multiprocessing
import os
import resource
import signal
from contextlib import closing

import pytest
import torch

from mmtrain.run.batches import load_batches
from mmtui.errors import InputError


def make(step: int) -> list[torch.Tensor]:
    return [torch.full((2,), step)]


def test_signals_for_all_processes_do_not_end_the_batches():
    """The process that trains takes its last step, and saves."""
    with closing(load_batches(make, range(20), in_background=True, pins=False)) as loaded:
        first = next(loaded)
        (process,) = multiprocessing.active_children()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):
            os.kill(process.pid, number)
        steps = [int(batch[0]) for (batch,) in [first, *loaded]]
    assert steps == list(range(20))


def test_closing_ends_the_process():
    with closing(load_batches(make, range(20), in_background=True, pins=False)) as loaded:
        next(loaded)
    assert not multiprocessing.active_children()


def test_a_step_has_more_tensors_than_files_can_be_open():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        many = load_batches(lambda step: make(step) * 300, range(4), in_background=True, pins=False)
        assert [int(batches[-1][0]) for batches in many] == [0, 1, 2, 3]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_error_keeps_its_hint():
    def fail(step: int) -> list[torch.Tensor]:
        raise InputError("no batch", "look at it")

    with pytest.raises(InputError, match="no batch") as caught:
        next(load_batches(fail, range(2), in_background=True, pins=False))
    assert caught.value.hint == "look at it"
