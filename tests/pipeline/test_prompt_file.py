"""What was read of a conversation is stored on disk, and only ever changes how fast it is read."""

import os
import stat
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from conversations import NEW, random_features

from mmtui.pipeline import prompt_folder
from mmtui.pipeline.engines import llama_language, torch_language
from mmtui.pipeline.engines.engine import Engine
from mmtui.pipeline.engines.llama_library import find_packages, load_library
from mmtui.pipeline.engines.llamacpp_engine import LlamaEngine
from mmtui.pipeline.engines.sampling import GREEDY, Sampler
from mmtui.pipeline.engines.torch_engine import TorchEngine
from mmtui.pipeline.prompt_file import PromptFile, PromptStorage
from mmtui.pipeline.sequence import Position

STORAGE = PromptStorage("talk", 100_000_000)
PICTURE = [("picture", patch) for patch in range(5)]
SEQUENCE: list[Position] = [*(number % 200 + 9 for number in range(300)), *PICTURE, 7, 8, 9]


@pytest.fixture(scope="module", params=["torch", *find_packages()])
def new_engine(request: pytest.FixtureRequest, tiny_llama: Path) -> Callable[[], Engine]:
    if request.param == "torch":
        language = torch_language.load(tiny_llama, precision="fp32")
        return lambda: TorchEngine(language)
    llama = llama_language.load(tiny_llama, load_library(request.param), precision="fp32")
    return lambda: LlamaEngine(llama)


@pytest.fixture
def features(new_engine) -> dict:
    return random_features([SEQUENCE], new_engine().language.hidden_size)


@pytest.fixture
def stored(new_engine, features, cache) -> Path:
    """Store a conversation, and return the path of its file."""
    engine = new_engine()
    list(engine.prefill(SEQUENCE, features))
    list(PromptFile(STORAGE, engine, "model").save())
    return prompt_folder.get_path("talk")


def restore(engine: Engine, sequence=SEQUENCE, model: str = "model") -> int:
    """Return how many positions are cached after the file was restored."""
    PromptFile(STORAGE, engine, model).restore(sequence)
    return len(engine.cached)


def generate(engine: Engine, sequence, features) -> list[int]:
    tokens = engine.stream(sequence, features, Sampler(GREEDY))
    return list(islice((token for token in tokens if token is not None), NEW))


def test_a_restored_conversation_is_answered_as_one_that_was_read(new_engine, features, stored):
    engine = new_engine()
    assert restore(engine) == len(SEQUENCE)
    question = [*SEQUENCE, 11, 12, 13]
    assert engine.count_cached(question) == len(SEQUENCE)
    assert generate(engine, question, {}) == generate(new_engine(), question, features)
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert [file.name for file in stored.parent.iterdir()] == ["talk.state"]


def test_its_start_is_used_for_another_branch_of_the_conversation(new_engine, features, stored):
    engine = new_engine()
    branch = [*SEQUENCE[:280], 50, 51, 52]
    assert restore(engine, branch) == len(SEQUENCE)
    assert engine.count_cached(branch) == 280
    assert generate(engine, branch, {}) == generate(new_engine(), branch, features)


def test_a_file_that_saves_little_is_not_read(new_engine, features, stored):
    assert restore(new_engine(), SEQUENCE[:200]) == 0
    engine = new_engine()
    list(engine.prefill(SEQUENCE[:100], features))
    assert restore(engine) == 100


@pytest.mark.parametrize("at", [0, 20, 36, 60, 2000, -1])
def test_a_damaged_file_is_ignored(new_engine, stored, at):
    data = bytearray(stored.read_bytes())
    data[at] ^= 1
    stored.write_bytes(data)
    assert restore(new_engine()) == 0


@pytest.mark.parametrize("size", [0, 10, 40, 1000, -1])
def test_a_file_that_is_cut_off_is_ignored_and_replaced(new_engine, features, stored, size):
    stored.write_bytes(stored.read_bytes()[:size])
    engine = new_engine()
    assert restore(engine) == 0
    list(engine.prefill(SEQUENCE, features))
    list(PromptFile(STORAGE, engine, "model").save())
    assert restore(new_engine()) == len(SEQUENCE)


def test_a_file_of_another_model_or_engine_is_ignored(new_engine, stored, tiny_llama):
    assert restore(new_engine(), model="another") == 0
    other = TorchEngine(torch_language.load(tiny_llama, precision="bf16"))
    assert restore(other) == 0
    prompt_folder.remove("talk")
    prompt_folder.remove("talk")
    assert not stored.exists() and restore(new_engine()) == 0


def test_it_is_written_again_when_much_is_new(new_engine, features, stored):
    engine = new_engine()
    restore(engine)
    before = stored.stat().st_mtime_ns
    list(engine.prefill([*SEQUENCE, *range(20, 120)], features))
    assert list(PromptFile(STORAGE, engine, "model").save()) == []
    assert stored.stat().st_mtime_ns == before
    longer = [*SEQUENCE, *(number % 200 + 20 for number in range(300))]
    list(engine.prefill(longer, features))
    list(PromptFile(STORAGE, engine, "model").save())
    assert restore(new_engine(), longer) == len(longer)


def test_writing_can_be_interrupted(new_engine, features, cache):
    engine = new_engine()
    list(engine.prefill(SEQUENCE, features))
    saving = PromptFile(STORAGE, engine, "model").save()
    next(saving)
    saving.close()
    assert list(prompt_folder.get_path("talk").parent.iterdir()) == []


def test_the_files_that_were_not_used_for_longest_are_removed(new_engine, features, stored):
    size = stored.stat().st_size
    engine = new_engine()
    list(engine.prefill(SEQUENCE, features))
    for number, name in enumerate(("first", "second", "third")):
        list(PromptFile(PromptStorage(name, 10 * size), engine, "model").save())
        os.utime(prompt_folder.get_path(name), (number, number))
    restore(new_engine())
    list(PromptFile(PromptStorage("fourth", int(2.5 * size)), engine, "model").save())
    names = {file.stem for file in stored.parent.iterdir()}
    assert names == {"talk", "fourth"}
    list(PromptFile(PromptStorage("fifth", size // 2), engine, "model").save())
    assert not prompt_folder.get_path("fifth").exists()


def test_a_disk_that_can_t_be_written_is_no_error(new_engine, features, cache):
    cache.mkdir(parents=True)
    (cache / "prompts").write_text("in the way")
    engine = new_engine()
    list(engine.prefill(SEQUENCE, features))
    assert list(PromptFile(STORAGE, engine, "model").save()) == []
    assert restore(new_engine()) == 0
