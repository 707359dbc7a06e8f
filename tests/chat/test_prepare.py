"""The model process prepares the next question, and stops that for any request."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from model_events import ModelEvents

from mmtui.chat.model_process import ModelProcess
from mmtui.chat.protocol import ChatTurn, Completed, Died, Failed, Piece, Prepared, Ready
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec
from mmtui.pipeline.engines.llama_library import find_packages

pytestmark = pytest.mark.slow  # loads weights in other processes
HISTORY = (ChatTurn("user", "Tell me a story. " * 30), ChatTurn("assistant", "Once upon a time."))


@pytest.fixture
def events() -> ModelEvents:
    return ModelEvents()


@pytest.fixture(params=["torch", "llamacpp"])
def model(
    request: pytest.FixtureRequest, tiny: Checkpoint, events: ModelEvents
) -> Iterator[ModelProcess]:
    if request.param == "llamacpp" and not find_packages():
        pytest.skip("llama.cpp is not installed")
    assert tiny.projector is not None
    model = ModelProcess(str(tiny.projector.parent), events, request.param)
    yield model
    model.close()


def write_blind_model(folder: Path, language: Path) -> Path:
    """Save a language model without a vision tower."""
    checkpoint.write(folder, ModelSpec("blind", LanguageSpec(Asset(str(language)), "fp32")))
    return folder


def test_only_the_rest_of_a_prepared_question_is_read_and_the_answer_is_the_same(
    model, events, cat
):
    turns = (*HISTORY, ChatTurn("user", "What is this?", (str(cat),)))
    model.generate(turns, 9)
    *pieces, cold = events.until(Completed)
    model.generate([ChatTurn("user", "Something else. " * 30)], 1)
    events.until(Completed)

    prepared = model.prepare(HISTORY, [str(cat)])
    assert events.until(Prepared) == [Prepared(prepared)]
    model.generate(turns, 9)
    *again, warm = events.until(Completed)
    assert "".join(piece.text for piece in again) == "".join(piece.text for piece in pieces)
    assert cold.cached_tokens == 0
    assert warm.prompt_tokens - warm.cached_tokens < 30  # the question, not the picture


def test_a_question_does_not_wait_for_the_preparation(model, events):
    model.load()
    prepared = model.prepare(HISTORY)
    request = model.generate([*HISTORY, ChatTurn("user", "And then?")], 3)
    ready, stopped, *pieces, completed = events.until(Completed)
    assert isinstance(ready, Ready) and stopped == Prepared(prepared)
    assert {event.number for event in (*pieces, completed)} == {request}
    assert completed.cached_tokens < completed.prompt_tokens - 100


def test_the_text_before_a_removed_picture_is_not_read_again(model, events, cat):
    model.load()
    model.prepare(HISTORY, [str(cat)])
    model.prepare(HISTORY)
    events.until(Ready, Failed)
    events.until(Prepared, Failed)
    events.until(Prepared, Failed)
    model.generate([*HISTORY, ChatTurn("user", "And then?")], 3)
    completed = events.until(Completed)[-1]
    assert completed.prompt_tokens - completed.cached_tokens < 30


def test_a_picture_that_can_t_be_read_fails_and_the_next_question_is_answered(model, events):
    model.load()
    number = model.prepare((), ["/no/such/picture.png"])
    failed = events.until(Failed)[-1]
    assert (failed.number, "picture.png" in failed.message) == (number, True)
    model.generate([ChatTurn("user", "Hello")], 3)
    assert isinstance(events.until(Completed, Failed)[-1], Completed)


def test_a_process_that_dies_while_it_prepares_is_replaced_for_the_next_question(model, events):
    model.load()
    events.until(Ready)
    process = psutil.Process(model._process.pid)
    process.suspend()
    model.prepare(HISTORY)
    process.send_signal(signal.SIGKILL)
    assert "killed" in events.until(Died)[-1].message
    model.prepare(HISTORY)  # starts nothing
    assert model._process is None
    model.generate([*HISTORY, ChatTurn("user", "And then?")], 3)
    assert isinstance(events.until(Completed)[-1], Completed)


@pytest.mark.parametrize("engine", ["torch", "llamacpp"])
def test_a_long_conversation_is_restored_by_another_process(engine, tiny_llama, events, cache):
    if engine == "llamacpp" and not find_packages():
        pytest.skip("llama.cpp is not installed")
    folder = write_blind_model(cache.parent / "model", tiny_llama)
    turns = (ChatTurn("user", "Tell me a story. " * 60), ChatTurn("assistant", "Once upon a time."))
    question = ChatTurn("user", "And then?")
    answers = []
    for _ in range(2):
        model = ModelProcess(str(folder), events, engine)
        model.load()
        model.prepare(turns, conversation="talk", storage_bytes=100_000_000)
        if not answers:
            events.until(Prepared, Failed)  # else it gives way to the question
        (file,) = (cache / "prompts").iterdir()
        model.generate([*turns, question], 5)
        *before, completed = events.until(Completed)
        assert completed.prompt_tokens - completed.cached_tokens < 30
        was_restored = file.stat().st_mtime > 0 and answers != []
        answers.append("".join(event.text for event in before if isinstance(event, Piece)))
        model.close()
        os.utime(file, (0, 0))  # restoring it changes that
    assert was_restored and answers[0] == answers[1]


def test_another_model_can_be_chosen_while_one_is_loaded(model, events):
    model.load()
    model.prepare(HISTORY)
    model.switch_model(model.name)
    number = model.load()
    ready = events.until(Ready)[-1]
    assert ready.number == number
    model.generate([ChatTurn("user", "Hello")], 2)
    assert isinstance(events.until(Completed)[-1], Completed)


def test_nothing_is_prepared_for_a_model_that_can_t_be_loaded(events, tmp_path):
    model = ModelProcess(str(tmp_path / "none"), events)
    model.load()
    prepared = model.prepare(HISTORY)
    failed, skipped = events.until(Prepared)
    assert isinstance(failed, Failed) and skipped == Prepared(prepared)
    model.close()


def test_a_model_that_can_t_see_reads_no_history_with_pictures(tiny_llama, tmp_path, events):
    model = ModelProcess(str(write_blind_model(tmp_path, tiny_llama)), events)
    model.load()
    number = model.prepare((), ["/no/such/picture.png"])
    assert events.until(Prepared, Failed)[-1] == Prepared(number)
    number = model.load_speech()  # this model has no speech model either
    assert events.until(Prepared, Failed)[-1] == Prepared(number)
    model.close()


@pytest.mark.usefixtures("smol")
def test_the_speech_model_is_loaded_ahead(events):
    model = ModelProcess("smol", events)
    number = model.load_speech()
    assert events.until(Prepared, Failed)[-1] == Prepared(number)
    model.close()
