"""CUDA graphs with a cache at fixed addresses generate the same tokens."""

from collections.abc import Sequence
from itertools import islice
from types import SimpleNamespace

import pytest
import torch
from conversations import encode_conversations, random_features

from mmtui.pipeline.engines import cuda_graph, torch_language
from mmtui.pipeline.engines.cuda_graph import CudaGraphDecoder
from mmtui.pipeline.engines.sampling import GREEDY, Sampler
from mmtui.pipeline.engines.torch_engine import TorchEngine
from mmtui.pipeline.sequence import Position

NEW = 24
NAMES = ("tiny_llama", "tiny_phi")


def answers(model: torch_language.TorchLanguage, pictures: int) -> list[list[int]]:
    """Return greedy tokens after each prompt, and after the prompt with its answer."""
    sequences = encode_conversations(model, pictures)[:6]
    features = random_features(sequences, model.hidden_size)
    engine = TorchEngine(model)

    def answer(sequence: Sequence[Position]) -> list[int]:
        tokens = engine.stream(sequence, features, Sampler(GREEDY))
        return list(islice((token for token in tokens if token is not None), NEW))

    generated = []
    for sequence in sequences:
        generated.append(answer(sequence))
        generated.append(answer([*sequence, *generated[-1], 5, 6, 7]))
    return generated


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("name", NAMES)
def test_a_replayed_step_gives_the_same_tokens(name, request, monkeypatch):
    model = torch_language.load(request.getfixturevalue(name), precision="fp32")
    monkeypatch.setattr(
        cuda_graph, "MIN_CAPACITY", 64
    )  # it grows during an answer, and is captured again
    assert CudaGraphDecoder.supports(model.model)
    replayed = answers(model, 2)
    monkeypatch.setattr(CudaGraphDecoder, "supports", lambda _: False)
    assert replayed == answers(model, 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pictures", [0, 1])
@pytest.mark.parametrize("most", [4096, 60])
def test_a_cache_at_fixed_addresses_gives_the_same_tokens_and_grows(
    name, pictures, most, request, monkeypatch
):
    """The decoder of GPUs runs eagerly, because capturing fails on a CPU."""
    model = torch_language.load(request.getfixturevalue(name), precision="fp32")
    expected = answers(model, pictures)
    monkeypatch.setattr(CudaGraphDecoder, "supports", lambda _: True)
    monkeypatch.setattr(cuda_graph, "MIN_CAPACITY", 16)
    monkeypatch.setattr(cuda_graph, "MAX_CAPACITY", most)
    assert answers(model, pictures) == expected


def test_unsupported_models_are_not_captured():
    class Model:
        def __init__(self, device: str = "cuda", quantized: bool = False, **config: object) -> None:
            self.device, self.is_loaded_in_4bit = torch.device(device), quantized
            self.config = SimpleNamespace(
                **({"model_type": "llama", "rope_scaling": None} | config)
            )

    assert CudaGraphDecoder.supports(Model())
    for odd in (
        {"device": "cpu"}, {"model_type": "gptj"}, {"quantized": True},
        {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
    ):  # fmt: skip
        assert not CudaGraphDecoder.supports(Model(**odd))
