"""Smoothed losses in a plot stay near the losses."""

import math

import pytest

from mmtrain.run import metrics


@pytest.mark.parametrize("steps", [1, 2, 20, 200, 4000])
def test_a_smoothed_loss_ends_near_the_loss(steps):
    """The loss falls exponentially, mostly in the first eighth of the run."""
    losses = [2 + 6 * math.exp(-8 * step / steps) for step in range(steps)]
    smoothed = list(metrics.smooth(losses))
    assert smoothed[0] == losses[0] and len(smoothed) == steps
    assert smoothed[-1] - losses[-1] < 0.05 * (losses[0] - losses[-1]) + 1e-9


def test_a_long_run_is_smoothed_over_fifty_steps():
    assert (
        metrics.get_smoothing_decay(500)
        == metrics.get_smoothing_decay(10**6)
        == pytest.approx(0.98)
    )
