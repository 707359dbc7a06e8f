"""On a GPU a token's step is replayed, with the tokens that Python's launches give."""

from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conversations import features_of, prompts

from mmtui.pipeline import graph, language
from mmtui.pipeline.engine import Engine
from mmtui.pipeline.sampling import GREEDY, Sampler

NEW = 48


def answers(model: language.LanguageModel, pictures: int) -> list[list[int]]:
    """Greedy tokens after 20 prompts."""
    sequences = prompts(model, pictures)
    features = features_of(sequences, model.hidden)
    engine = Engine(model)
    said = []
    for sequence in sequences:
        tokens = engine.stream(sequence, features, Sampler(GREEDY))
        said.append(list(islice((token for token in tokens if token is not None), NEW)))
    return said


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("name", ["tiny_llama", "tiny_phi"])
@pytest.mark.parametrize("pictures", [0, 2])
def test_what_is_replayed_is_what_is_launched(name, pictures, request, monkeypatch):
    folder: Path = request.getfixturevalue(name)
    model = language.load(folder, precision="fp32")
    monkeypatch.setattr(graph, "LEAST_ROOM", 64)  # outgrown within an answer: recorded again
    assert graph.can_record(model.model)
    replayed = answers(model, pictures)
    monkeypatch.setattr(graph, "can_record", lambda _: False)
    assert replayed == answers(model, pictures)


def test_nothing_is_recorded_where_it_would_not_be_right():
    class Model:
        def __init__(self, device: str = "cuda", **config: object) -> None:
            self.device = torch.device(device)
            known = {"model_type": "llama", "max_position_embeddings": 2048, "rope_scaling": None}
            self.config = SimpleNamespace(**(known | config))

    assert graph.can_record(Model())
    for odd in (
        {"device": "cpu"}, {"model_type": "gptj"}, {"max_position_embeddings": 131072},
        {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
    ):  # fmt: skip
        assert not graph.can_record(Model(**odd))
