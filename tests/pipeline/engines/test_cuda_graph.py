"""On a GPU keys and values stay in place and a step is replayed: the tokens are the same."""

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
    """Greedy tokens after prompts that begin alike or not, each asked once more with its answer."""
    sequences = encode_conversations(model, pictures)[:6]
    features = random_features(sequences, model.hidden_size)
    engine = TorchEngine(model)

    def answer(sequence: Sequence[Position]) -> list[int]:
        tokens = engine.stream(sequence, features, Sampler(GREEDY))
        return list(islice((token for token in tokens if token is not None), NEW))

    said = []
    for sequence in sequences:
        said.append(answer(sequence))
        said.append(answer([*sequence, *said[-1], 5, 6, 7]))
    return said


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("name", NAMES)
def test_what_is_replayed_is_what_is_launched(name, request, monkeypatch):
    model = torch_language.load(request.getfixturevalue(name), precision="fp32")
    monkeypatch.setattr(cuda_graph, "MIN_CAPACITY", 64)  # outgrown within an answer: recorded again
    assert CudaGraphDecoder.supports(model.model)
    replayed = answers(model, 2)
    monkeypatch.setattr(CudaGraphDecoder, "supports", lambda _: False)
    assert replayed == answers(model, 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pictures", [0, 1])
@pytest.mark.parametrize("most", [4096, 60])
def test_fixed_places_give_the_same_tokens_and_may_be_outgrown(
    name, pictures, most, request, monkeypatch
):
    """As on a GPU, but launched, since recording fails here."""
    model = torch_language.load(request.getfixturevalue(name), precision="fp32")
    expected = answers(model, pictures)
    monkeypatch.setattr(CudaGraphDecoder, "supports", lambda _: True)
    monkeypatch.setattr(cuda_graph, "MIN_CAPACITY", 16)
    monkeypatch.setattr(cuda_graph, "MAX_CAPACITY", most)
    assert answers(model, pictures) == expected


def test_nothing_is_recorded_where_it_would_not_be_right():
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
