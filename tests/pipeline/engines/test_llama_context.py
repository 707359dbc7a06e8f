"""Several sequences that llama.cpp decodes together: their tokens are those of each alone."""

import dataclasses
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from conversations import NEW, encode_conversations, random_features
from gguf_models import write_gguf

from mmtui.errors import MmtuiError
from mmtui.pipeline.engine_pool import EnginePool
from mmtui.pipeline.engines import llama_context, llama_language, prompt_lookup
from mmtui.pipeline.engines.batch_speed import BatchSpeed
from mmtui.pipeline.engines.context_steps import Step
from mmtui.pipeline.engines.engine import Engine
from mmtui.pipeline.engines.llama_context import LlamaContext
from mmtui.pipeline.engines.llama_language import LlamaLanguage
from mmtui.pipeline.engines.llama_library import LlamaLibrary, find_packages, load_library
from mmtui.pipeline.engines.llamacpp_engine import LlamaEngine
from mmtui.pipeline.engines.sampling import GREEDY, Sampler, Sampling
from mmtui.pipeline.prompt_memory import PromptMemory
from mmtui.pipeline.sequence import PREFILL_CHUNK, Position

pytestmark = pytest.mark.skipif(not find_packages(), reason="llama.cpp is not installed")
ENGINES = 4


@pytest.fixture(scope="module", params=find_packages())
def library(request: pytest.FixtureRequest) -> LlamaLibrary:
    return load_library(request.param)


@pytest.fixture(scope="module")
def model(tiny_llama: Path, library: LlamaLibrary) -> LlamaLanguage:
    return llama_language.load(tiny_llama, library, precision="fp32")


def ignore_eviction(_: Engine) -> None:
    pass


def split(
    model: LlamaLanguage, on_evict: Callable[[Engine], None] = ignore_eviction
) -> list[LlamaEngine]:
    return LlamaEngine(model).split(ENGINES, on_evict)


class Request:
    """A prompt that an engine answers."""

    def __init__(self, engine: Engine, sequence: Sequence[Position], features, count: int = NEW):
        self.stream = engine.stream(sequence, features, Sampler(GREEDY))
        self.answer: list[int] = []
        self.count = count

    @property
    def is_done(self) -> bool:
        return len(self.answer) == self.count

    def advance(self) -> None:
        """Append tokens until the next ones must be computed."""
        while not self.is_done:
            if (token := next(self.stream)) is None:
                return
            self.answer.append(token)
        self.stream.close()


def answer_together(engines: Sequence[Engine], requests: Sequence[Request]) -> list[list[int]]:
    while not all(request.is_done for request in requests):
        for request in requests:
            request.advance()
        engines[0].compute()
    return [request.answer for request in requests]


def answer_alone(
    model: LlamaLanguage, sequence: Sequence[Position], features, count: int = NEW
) -> list[int]:
    tokens = LlamaEngine(model).stream(sequence, features, Sampler(GREEDY))
    return list(islice((token for token in tokens if token is not None), count))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps each batch has, in the order in which they are computed together."""
    monkeypatch.setattr(BatchSpeed, "is_faster_together", lambda *_: True)
    sizes: list[int] = []
    decode = LlamaContext._decode

    def count(self: LlamaContext, steps) -> None:
        sizes.append(len(steps))
        decode(self, steps)

    monkeypatch.setattr(LlamaContext, "_decode", count)
    return sizes


@pytest.mark.parametrize("pictures", [0, 1, 3])
def test_tokens_are_those_of_each_alone(model, pictures, decoded):
    sequences = encode_conversations(model, pictures)
    features = random_features(sequences, model.hidden_size)
    expected = [answer_alone(model, sequence, features) for sequence in sequences]
    assert len({tuple(answer) for answer in expected}) > 10  # the prompts do matter
    engines, answers = split(model), []
    decoded.clear()
    for start in range(0, len(sequences), ENGINES):
        group = sequences[start : start + ENGINES]
        requests = [
            Request(engine, sequence, features)
            for engine, sequence in zip(engines, group, strict=True)
        ]
        answers += answer_together(engines, requests)
    assert answers == expected
    assert decoded.count(ENGINES) >= len(sequences) / ENGINES * (NEW - 2)


@pytest.mark.parametrize("is_faster", [True, False])
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen2vl", "mamba"])
def test_models_of_all_kinds_decode_together(
    architecture, library, tmp_path, monkeypatch, is_faster
):
    monkeypatch.setattr(BatchSpeed, "is_faster_together", lambda *_: is_faster)
    language = llama_language.load_gguf([write_gguf(tmp_path / "m.gguf", architecture)], library)
    language = dataclasses.replace(language, precision="fp32")
    draw = np.random.default_rng(1)
    sequences = [draw.integers(3, 300, size).tolist() for size in (5, 200, 31, 90)]
    expected = [answer_alone(language, sequence, {}) for sequence in sequences]
    engines = split(language)
    requests = [Request(*pair, {}) for pair in zip(engines, sequences, strict=True)]
    assert answer_together(engines, requests) == expected


def test_requests_come_and_go(model):
    """A long prompt starts while others are answered, and its engine answers another one later."""
    sequences = encode_conversations(model, 1)[:6]
    sequences[2] = [*sequences[2], *range(20, 300)]
    features = random_features(sequences, model.hidden_size)
    counts = (30, 12, 20, 9, 15, 40)
    expected = [
        answer_alone(model, sequence, features, count)
        for sequence, count in zip(sequences, counts, strict=True)
    ]
    engines = split(model)
    free, running = list(engines), {}
    waiting = list(range(6))
    answers: dict[int, list[int]] = {}
    while waiting or running:
        if waiting and free:
            number, engine = waiting.pop(0), free.pop(0)
            request = Request(engine, sequences[number], features, counts[number])
            running[number] = (request, engine)
        for number, (request, engine) in list(running.items()):
            request.advance()
            if request.is_done:
                answers[number] = request.answer
                free.append(engine)
                del running[number]
        engines[0].compute()
    assert [answers[number] for number in range(6)] == expected


def test_a_request_that_is_left_frees_its_engine_and_disturbs_no_other(model):
    first, second, third = encode_conversations(model, 0)[:3]
    expected = answer_alone(model, second, {}, 30)
    engines = split(model)
    left, kept = Request(engines[0], first, {}, 30), Request(engines[1], second, {}, 30)
    for _ in range(6):
        left.advance()
        kept.advance()
        engines[0].compute()
    left.advance()
    kept.advance()
    left.stream.close()  # before its next token is computed
    known = engines[0].count_cached([*first, *left.answer])
    assert known >= len(first)
    again = Request(engines[0], third, {})
    assert answer_together(engines, [kept, again]) == [expected, answer_alone(model, third, {})]


def test_an_error_of_one_request_disturbs_no_other(model):
    first, second = encode_conversations(model, 0)[:2]
    engines = split(model)
    requests = [Request(engines[0], first, {}, 30), Request(engines[1], second, {}, 30)]
    for _ in range(4):
        for request in requests:
            request.advance()
        engines[0].compute()
    invalid = Request(engines[2], [5, 6, 10**6, 7], {})
    invalid.advance()
    for request in requests:
        request.advance()
    engines[0].compute()
    with pytest.raises(MmtuiError, match="could not decode"):
        invalid.advance()
    assert answer_together(engines, requests) == [
        answer_alone(model, sequence, {}, 30) for sequence in (first, second)
    ]
    again = Request(engines[2], first, {})
    assert answer_together(engines, [again]) == [answer_alone(model, first, {})]


def test_drafts_change_nothing_but_the_number_of_batches(model, monkeypatch, decoded):
    sequences = encode_conversations(model, 0)[:ENGINES]
    monkeypatch.setattr(prompt_lookup.PromptLookup, "draft", lambda _: [])
    expected = [answer_alone(model, sequence, {}, 60) for sequence in sequences]
    starts = {tuple(sequence[:30]): number for number, sequence in enumerate(sequences)}

    def foresee(self: prompt_lookup.PromptLookup) -> list[int]:
        number = starts[tuple(self._positions[:30])]
        at = len(self._positions) - len(sequences[number])
        draft = expected[number][at : at + 2 + number]
        return [*draft[:-1], 7]  # the last one is wrong

    assert len(starts) == ENGINES
    monkeypatch.setattr(prompt_lookup.PromptLookup, "draft", foresee)
    engines = split(model)
    decoded.clear()
    requests = [Request(*pair, {}, 60) for pair in zip(engines, sequences, strict=True)]
    assert answer_together(engines, requests) == expected
    assert len(decoded) < 45


def test_a_context_that_grows_keeps_all_sequences(model, monkeypatch):
    sequences = encode_conversations(model, 1)[:ENGINES]
    features = random_features(sequences, model.hidden_size)
    expected = [answer_alone(model, sequence, features, 200) for sequence in sequences]
    monkeypatch.setattr(llama_context, "FIRST_CONTEXT", 16)
    engines = split(model)
    requests = [Request(*pair, features, 200) for pair in zip(engines, sequences, strict=True)]
    assert answer_together(engines, requests) == expected


def test_idle_conversations_make_room_and_are_kept_in_memory(model, monkeypatch):
    monkeypatch.setattr(llama_context, "FIRST_CONTEXT", 100)
    memory = PromptMemory(100_000_000)
    pool = EnginePool(split(model, memory.add), memory)
    sequences = [
        [(number * 31 + place**2) % 200 + 9 for place in range(150)] for number in (1, 2, 3, 4)
    ]
    expected = [answer_alone(model, sequence, {}) for sequence in sequences]

    def ask(sequence: Sequence[Position]) -> tuple[list[int], int]:
        with pool.borrow(sequence) as engine:
            cached = engine.count_cached(sequence)
            return answer_together([engine], [Request(engine, sequence, {})])[0], cached

    assert [ask(sequence) for sequence in sequences] == [(answer, 0) for answer in expected]
    for sequence, answer in zip(sequences, expected, strict=True):
        assert ask(sequence) == (answer, len(sequence))


def test_conversations_stay_with_their_engines(model):
    memory = PromptMemory(0)
    pool = EnginePool(split(model), memory)
    sequences = [
        [(number * 31 + place**2) % 200 + 9 for place in range(100)] for number in range(ENGINES)
    ]
    for question in range(3):
        for sequence in sequences:
            with pool.borrow(sequence) as engine:
                assert len(sequence) - engine.count_cached(sequence) == (10 if question else 100)
                (answer,) = answer_together([engine], [Request(engine, sequence, {})])
            sequence += [*answer, *range(20, 29)]


def test_without_memory_for_a_larger_context_only_the_long_prompt_fails(model, monkeypatch):
    monkeypatch.setattr(llama_context, "FIRST_CONTEXT", 64)
    short = encode_conversations(model, 0)[0]
    engines = split(model)
    kept = Request(engines[0], short, {}, 30)
    kept.advance()
    engines[0].compute()
    monkeypatch.setattr("mmtui.machine.get_free_memory", lambda: 1000)
    long = Request(engines[1], [*range(9, 209)] * 3, {})
    with pytest.raises(MmtuiError, match="not enough memory for a context of 512 tokens"):
        answer_together(engines, [kept, long])
    assert answer_together(engines, [kept]) == [answer_alone(model, short, {}, 30)]


def test_a_picture_that_needs_too_much_memory_can_be_tried_again(model, monkeypatch):
    context, count = LlamaContext(model, sequences=2), PREFILL_CHUNK + 50
    features = np.full((count, model.hidden_size), 0.1, np.float32)

    def compute(inputs: list[int] | np.ndarray, *, is_causal: bool = True) -> Exception | None:
        step = Step(1, inputs, np.arange(len(inputs)), output_count=1, is_causal=is_causal)
        context.submit(step)
        context.compute()
        return step.error

    assert compute([5, 6, 7]) is None
    context.crop(1, 0, 0)
    with monkeypatch.context() as patch:
        patch.setattr("mmtui.machine.get_free_memory", lambda: 1000)
        for _ in range(2):
            assert "not enough memory" in str(compute(features, is_causal=False))
    assert compute(features, is_causal=False) is None


@pytest.mark.parametrize("sampling", [Sampling(0.7, seed=3), Sampling(1.5, seed=4)])
def test_a_seed_gives_the_same_tokens_with_others(model, sampling):
    sequences = encode_conversations(model, 0)[:ENGINES]

    def start(engine: Engine, sequence: Sequence[Position]) -> Request:
        request = Request(engine, sequence, {}, 30)
        request.stream = engine.stream(sequence, {}, Sampler(sampling))
        return request

    expected = [
        answer_together([engine], [start(engine, sequence)])[0]
        for engine, sequence in ((LlamaEngine(model), sequence) for sequence in sequences)
    ]
    engines = split(model)
    requests = [
        start(engine, sequence) for engine, sequence in zip(engines, sequences, strict=True)
    ]
    assert answer_together(engines, requests) == expected


def test_what_is_read_ahead_is_computed_at_once(model):
    engines = split(model)
    sequence, other = encode_conversations(model, 1)[3:5]
    features = random_features([sequence, other], model.hidden_size)
    *_, done = engines[0].prefill(sequence[:-5], features)
    assert done == len(sequence) - 5 == engines[0].count_cached(sequence)
    requests = [Request(engines[0], sequence, features), Request(engines[1], other, features)]
    assert answer_together(engines, requests) == [
        answer_alone(model, prompt, features) for prompt in (sequence, other)
    ]
