"""On a GPU a token's step is replayed: with the tokens that Python's launches give, and sooner."""

import time
from itertools import islice
from pathlib import Path

import pytest
import torch
from conversations import features_of, prompts

from mmtui.pipeline import graph, language
from mmtui.pipeline.engine import Engine
from mmtui.pipeline.sampling import GREEDY, Sampler

NEW = 48


def answers(model: language.LanguageModel, pictures: int) -> tuple[list[list[int]], float]:
    """Greedy tokens after 20 prompts, and the seconds that the last took."""
    sequences = prompts(model, pictures)
    features = features_of(sequences, model.hidden)
    engine = Engine(model)
    said = []
    for sequence in sequences:
        began = time.perf_counter()
        tokens = engine.stream(sequence, features, Sampler(GREEDY))
        said.append(list(islice((token for token in tokens if token is not None), NEW)))
    return said, time.perf_counter() - began


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("name", ["tiny_llama", "tiny_phi"])
@pytest.mark.parametrize("pictures", [0, 2])
def test_what_is_replayed_is_what_is_launched(name, pictures, request, monkeypatch):
    folder: Path = request.getfixturevalue(name)
    model = language.load(folder, precision="fp32")
    monkeypatch.setattr(graph, "LEAST", 64)  # outgrown within an answer: recorded again
    assert graph.is_recordable(model.model)
    replayed, took = answers(model, pictures)
    monkeypatch.setattr(graph, "is_recordable", lambda _: False)
    launched, slowly = answers(model, pictures)
    assert replayed == launched
    assert took < slowly
