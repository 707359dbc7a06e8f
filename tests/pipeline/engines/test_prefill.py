"""Prompts that are read ahead: the answers stay the same, and nothing is read twice."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from conversations import NEW, encode_conversations, random_features

from mmtui.pipeline.engines import llama_language, torch_language
from mmtui.pipeline.engines.engine import Engine
from mmtui.pipeline.engines.llama_library import find_packages, load_library
from mmtui.pipeline.engines.llamacpp_engine import LlamaEngine
from mmtui.pipeline.engines.sampling import GREEDY, Sampler
from mmtui.pipeline.engines.torch_engine import TorchEngine
from mmtui.pipeline.sequence import AHEAD_CHUNK


@pytest.fixture(scope="module", params=["torch", *find_packages()])
def new_engine(request: pytest.FixtureRequest, tiny_llama: Path) -> Callable[[], Engine]:
    if request.param == "torch":
        language = torch_language.load(tiny_llama, precision="fp32")
        return lambda: TorchEngine(language)
    llama = llama_language.load(tiny_llama, load_library(request.param), precision="fp32")
    return lambda: LlamaEngine(llama)


def generate(engine: Engine, sequence, features) -> list[int]:
    tokens = engine.stream(sequence, features, Sampler(GREEDY))
    return list(islice((token for token in tokens if token is not None), NEW))


def test_what_was_read_ahead_is_reused_and_the_answer_stays_the_same(new_engine):
    engine = new_engine()
    for pictures in (0, 3):
        sequence = encode_conversations(engine.language, pictures)[3]
        features = random_features([sequence], engine.language.hidden_size)
        known = sequence[:-5]
        *_, done = engine.prefill(known, features)
        assert done == len(known) == engine.count_cached(sequence)
        assert generate(engine, sequence, {}) == generate(new_engine(), sequence, features)


def test_it_can_be_left_between_two_batches(new_engine):
    engine = new_engine()
    sequence = encode_conversations(engine.language, 1)[3]
    features = random_features([sequence], engine.language.hidden_size)
    assert next(iter(engine.prefill(sequence, features))) == AHEAD_CHUNK
    assert engine.count_cached(sequence) == AHEAD_CHUNK
    assert generate(engine, sequence, features) == generate(new_engine(), sequence, features)


def test_a_cache_that_starts_with_it_stays_as_it_is(new_engine):
    engine = new_engine()
    sequence = encode_conversations(engine.language, 1)[3]
    features = random_features([sequence], engine.language.hidden_size)
    answer = generate(engine, sequence, features)
    assert list(engine.prefill(sequence[:20], {})) == []
    assert list(engine.prefill(sequence, {})) == []
    assert engine.count_cached(sequence) == len(sequence)
    assert generate(engine, sequence, {}) == answer


def test_another_conversation_replaces_it(new_engine):
    engine = new_engine()
    first, other = encode_conversations(engine.language, 2)[2:4]
    features = random_features([first, other], engine.language.hidden_size)
    list(engine.prefill(first, features))
    list(engine.prefill(other, features))
    assert generate(engine, other, {}) == generate(new_engine(), other, features)
