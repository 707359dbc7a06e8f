import numpy as np
import pytest
import torch
from transformers import TopPLogitsWarper

from mmtui.errors import InputError, UsageError
from mmtui.pipeline.engines.sampling import GREEDY, Sampler, Sampling, select_nucleus


def random_logits(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(shape) * scale).astype(np.float32)


def test_greedy_takes_the_likeliest():
    logits = random_logits(3, 50)
    assert Sampler(GREEDY)(logits).tolist() == logits.argmax(-1).tolist()


def test_nucleus_keeps_what_transformers_keeps():
    logits = torch.from_numpy(random_logits(64, 100, scale=3))
    for top_p in (0.1, 0.5, 0.9, 0.99, 1.0):
        expected = TopPLogitsWarper(top_p)(None, logits).isfinite()
        for row, wanted in zip(logits.double().softmax(-1).numpy(), expected, strict=True):
            tokens, _ = select_nucleus(row, top_p)
            assert sorted(tokens.tolist()) == wanted.nonzero()[:, 0].tolist()


def test_sampled_frequencies_are_those_of_the_tempered_softmax():
    logits = np.array([[2.0, 1.0, 0.0, -9.0]]).repeat(20_000, axis=0)
    drawn = Sampler(Sampling(temperature=2.0, top_p=1.0, seed=5))(logits)
    expected = np.exp(logits[0] / 2) / np.exp(logits[0] / 2).sum()
    assert np.bincount(drawn, minlength=4) / len(drawn) == pytest.approx(expected, abs=0.015)


def test_a_seed_gives_the_same_tokens_one_by_one_and_in_a_batch():
    logits = random_logits(30, 50, scale=2)
    together = Sampler(Sampling(temperature=1.0, seed=7))(logits)
    one_by_one = Sampler(Sampling(temperature=1.0, seed=7))
    assert [int(one_by_one(row[None])[0]) for row in logits] == together.tolist()


@pytest.mark.parametrize("temperature", [1e-3, 1e-38, 1e-45, 1e30])
def test_any_temperature_gives_a_token(temperature):
    logits = random_logits(5, 40, scale=20)
    drawn = Sampler(Sampling(temperature, seed=0))(logits)
    if temperature < 1:
        assert drawn.tolist() == logits.argmax(-1).tolist()
    assert ((drawn >= 0) & (drawn < 40)).all()


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), float("inf")])
def test_temperatures_that_are_none(temperature):
    with pytest.raises(UsageError, match="temperature"):
        Sampling(temperature)


def test_a_tiny_top_p_is_greedy():
    logits = random_logits(8, 30)
    drawn = Sampler(Sampling(temperature=1.0, top_p=1e-6, seed=1))(logits)
    assert drawn.tolist() == logits.argmax(-1).tolist()


def test_the_last_bit_of_a_logit_hardly_ever_decides():
    logits = np.zeros((2000, 50), np.float32)  # all equal: the least difference orders them
    noise = random_logits(2000, 50, scale=1e-6)
    sampling = Sampling(temperature=1.0, top_p=1.0, seed=3)
    drawn, disturbed = Sampler(sampling)(logits), Sampler(sampling)(logits + noise)
    assert (drawn != disturbed).mean() < 0.01


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(1.0, 0.9, 0)])
def test_logits_that_are_not_numbers_are_an_error(sampling):
    logits = random_logits(2, 50)
    logits[1, 7] = np.nan
    with pytest.raises(InputError, match="weights are damaged"):
        Sampler(sampling)(logits)
