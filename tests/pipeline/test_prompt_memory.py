"""Conversations that alternate are not read again, and their answers stay the same."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from conversations import NEW, random_features

from mmtui.pipeline.engines import llama_language, torch_language
from mmtui.pipeline.engines.engine import Engine
from mmtui.pipeline.engines.llama_library import find_packages, load_library
from mmtui.pipeline.engines.llamacpp_engine import LlamaEngine
from mmtui.pipeline.engines.sampling import GREEDY, Sampler
from mmtui.pipeline.engines.torch_engine import TorchEngine
from mmtui.pipeline.prompt_memory import PromptMemory
from mmtui.pipeline.sequence import Position

LENGTH = 1000
LARGE = 100_000_000


@pytest.fixture(scope="module", params=["torch", *find_packages()])
def new_engine(request: pytest.FixtureRequest, tiny_llama: Path) -> Callable[[], Engine]:
    if request.param == "torch":
        language = torch_language.load(tiny_llama, precision="fp32")
        return lambda: TorchEngine(language)
    llama = llama_language.load(tiny_llama, load_library(request.param), precision="fp32")
    return lambda: LlamaEngine(llama)


def start_conversation(number: int, length: int = LENGTH) -> list[Position]:
    """Return a prompt with a picture in it, unlike that of any other number."""
    picture: list[Position] = [(f"picture {number}", patch) for patch in range(5)]
    text = [(number * 31 + place * place) % 200 + 9 for place in range(length - len(picture))]
    return [*text[:20], *picture, *text[20:]]


def ask(memory: PromptMemory, engine: Engine, sequence: list[Position]) -> tuple[list[int], int]:
    """Return the answer, and how many positions of the prompt were read for it."""
    memory.switch(engine, sequence)
    cached = engine.count_cached(sequence)
    features = random_features([sequence], engine.language.hidden_size)
    tokens = engine.stream(sequence, features, Sampler(GREEDY))
    answer = list(islice((token for token in tokens if token is not None), NEW))
    return answer, len(sequence) - cached


def test_conversations_that_alternate_read_only_what_is_new(new_engine):
    engine, memory = new_engine(), PromptMemory(LARGE)
    conversations = [start_conversation(number) for number in range(2)]
    for question in range(4):
        for sequence in conversations:
            answer, read = ask(memory, engine, sequence)
            assert answer == ask(PromptMemory(0), new_engine(), sequence)[0]
            # The last token of an answer is not in the cache; the question has 9.
            assert read == (10 if question else LENGTH)
            sequence.extend([*answer, *range(20, 29)])


def test_without_memory_they_are_read_again(new_engine):
    engine, memory = new_engine(), PromptMemory(0)
    conversations = [start_conversation(number) for number in range(2)]
    for sequence in conversations * 2:
        assert ask(memory, engine, sequence)[1] == LENGTH


def test_the_same_prompt_is_not_read_again(new_engine):
    engine, memory = new_engine(), PromptMemory(LARGE)
    conversations = [start_conversation(number) for number in range(2)]
    answers = [ask(memory, engine, sequence)[0] for sequence in conversations]
    assert [ask(memory, engine, sequence) for sequence in conversations] == [
        (answer, 0) for answer in answers
    ]


def test_conversations_with_the_same_start_are_kept_apart(new_engine):
    """They share a system prompt, which only the first one reads."""
    engine, memory = new_engine(), PromptMemory(LARGE)
    system = start_conversation(0, 300)
    conversations = [[*system, *start_conversation(number, 300)] for number in (1, 2, 3)]
    assert [ask(memory, engine, sequence)[1] for sequence in conversations] == [600, 300, 300]
    for sequence in conversations:
        sequence.extend(range(20, 29))
        answer, read = ask(memory, engine, sequence)
        assert read == 9 and answer == ask(PromptMemory(0), new_engine(), sequence)[0]


def test_the_oldest_copies_make_room(new_engine):
    engine = new_engine()
    sequences = [start_conversation(number) for number in range(4)]
    ask(PromptMemory(0), engine, sequences[0])
    copy = engine.copy_cache(LARGE)
    assert copy is not None and engine.copy_cache(copy.size // 2) is None
    memory = PromptMemory(int(copy.size * 2.5))  # two, beside the one in the engine
    for sequence in sequences[1:]:
        ask(memory, engine, sequence)
    assert [ask(memory, engine, sequences[number])[1] for number in (3, 2, 1)] == [0, 0, 0]
    ask(memory, engine, sequences[0])
    assert [ask(memory, engine, sequences[number])[1] for number in (1, 2)] == [0, 0]
    assert ask(memory, engine, sequences[3])[1] == LENGTH


def test_little_free_memory_is_left_to_others(new_engine, monkeypatch):
    monkeypatch.setattr("mmtui.machine.get_free_memory", lambda: 100)
    engine, memory = new_engine(), PromptMemory(LARGE)
    conversations = [start_conversation(number) for number in range(2)]
    for sequence in conversations * 2:
        assert ask(memory, engine, sequence)[1] == LENGTH
