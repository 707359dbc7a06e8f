import pytest
import torch
from transformers import TopPLogitsWarper

from mmtui.errors import UsageError
from mmtui.pipeline.sampling import GREEDY, Sampler, Sampling, nucleus


def test_greedy_takes_the_likeliest():
    logits = torch.randn(3, 50)
    assert torch.equal(Sampler(GREEDY)(logits), logits.argmax(-1))


def test_nucleus_keeps_what_transformers_keeps():
    torch.manual_seed(0)
    logits = torch.randn(64, 100) * 3
    for top_p in (0.1, 0.5, 0.9, 0.99):
        kept = nucleus(logits.softmax(-1), top_p) > 0
        assert torch.equal(kept, TopPLogitsWarper(top_p)(None, logits).isfinite())


def test_sampled_frequencies_are_those_of_the_tempered_softmax():
    logits = torch.tensor([[2.0, 1.0, 0.0, -9.0]]).repeat(20_000, 1)
    drawn = Sampler(Sampling(temperature=2.0, top_p=1.0, seed=5))(logits)
    frequencies = drawn.bincount(minlength=4) / len(drawn)
    torch.testing.assert_close(frequencies, (logits[0] / 2).softmax(-1), atol=0.015, rtol=0)


@pytest.mark.parametrize("temperature", [1e-3, 1e-38, 1e-45, 1e30])
def test_any_temperature_gives_a_token(temperature):
    logits = torch.randn(5, 40) * 20
    drawn = Sampler(Sampling(temperature, seed=0))(logits)
    if temperature < 1:
        assert torch.equal(drawn, logits.argmax(-1))


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), float("inf")])
def test_temperatures_that_are_none(temperature):
    with pytest.raises(UsageError, match="temperature"):
        Sampling(temperature)


def test_a_tiny_top_p_is_greedy():
    logits = torch.randn(8, 30)
    drawn = Sampler(Sampling(temperature=1.0, top_p=1e-6, seed=1))(logits)
    assert torch.equal(drawn, logits.argmax(-1))
