"""The model process writes several replies at the same time."""

import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from model_events import ModelEvents

from mmtui.chat.model_process import ModelProcess
from mmtui.chat.protocol import (
    ChatTurn,
    Completed,
    Died,
    Event,
    Failed,
    Piece,
    Prepared,
    Ready,
    Transcribed,
)
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec
from mmtui.pipeline.engines.llama_library import find_packages

pytestmark = [
    pytest.mark.slow,  # loads weights in other processes
    pytest.mark.skipif(not find_packages(), reason="llama.cpp is not installed"),
]
QUESTIONS = ("What is in this picture?", "A dog and a cat.", "It is a cat. " * 60, "And a dog?")


@pytest.fixture
def events() -> ModelEvents:
    return ModelEvents()


@pytest.fixture(scope="module")
def tiny(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    checkpoint.write(folder, ModelSpec("tiny", LanguageSpec(Asset(str(tiny_llama)), "fp32")))
    return folder


@pytest.fixture
def model(tiny: Path, events: ModelEvents) -> Iterator[ModelProcess]:
    model = ModelProcess(str(tiny), events, "llamacpp", parallel=3)
    model.load()
    ready = events.until(Ready)[-1]
    assert isinstance(ready, Ready) and ready.parallel == 3
    yield model
    model.close()


def ask(model: ModelProcess, text: str, tokens: int = 30) -> int:
    return model.generate([ChatTurn("user", text)], tokens)


def collect(events: ModelEvents, *numbers: int) -> tuple[dict[int, str], list[Event]]:
    """Wait for the ends of replies; return their texts and all events."""
    texts, seen = dict.fromkeys(numbers, ""), []
    running = set(numbers)
    while running:
        found = events.until(Completed, Failed, Died)
        assert not isinstance(found[-1], Died), found[-1]
        running.discard(found[-1].number)
        seen += found
    for event in seen:
        if isinstance(event, Piece):
            texts[event.number] = texts.get(event.number, "") + event.text
    return texts, seen


def test_replies_are_written_together_and_are_those_of_each_alone(model, events, tiny):
    numbers = [ask(model, question) for question in QUESTIONS]
    texts, seen = collect(events, *numbers)
    pieces = [event.number for event in seen if isinstance(event, Piece)]
    changes = sum(one != other for one, other in pairwise(pieces))
    assert changes > 20  # they take turns
    alone = ModelProcess(str(tiny), events, "llamacpp")
    for question, number in zip(QUESTIONS, numbers, strict=True):
        expected, _ = collect(events, ask(alone, question))
        assert list(expected.values()) == [texts[number]]
    alone.close()


def test_a_reply_that_is_cancelled_makes_room_at_once(model, events):
    endless = [ask(model, question, 3000) for question in QUESTIONS[:3]]
    events.until(Piece)
    last = ask(model, QUESTIONS[3], 5)  # waits in the process
    model.cancel(endless[1])
    _, seen = collect(events, endless[1], last)
    reasons = {event.number: event.stop_reason for event in seen if isinstance(event, Completed)}
    assert reasons[endless[1]] == "cancelled" and reasons[last] != "cancelled"
    assert endless[0] not in reasons and endless[2] not in reasons
    for number in (endless[0], endless[2]):
        model.cancel(number)
    collect(events, endless[0], endless[2])


def test_a_reply_that_fails_disturbs_no_other(model, events):
    first = ask(model, QUESTIONS[0])
    failing = model.generate([ChatTurn("user", "Look", ("/no/such/picture.png",))], 5)
    bug = model.generate([ChatTurn("user", ("not", "a text"))], 5)
    second = ask(model, QUESTIONS[1])
    texts, seen = collect(events, first, failing, bug, second)
    failed = {event.number for event in seen if isinstance(event, Failed)}
    assert failed == {failing, bug}
    again, _ = collect(events, ask(model, QUESTIONS[0]))
    assert list(again.values()) == [texts[first]]


def test_other_requests_are_served_beside_replies(model, events):
    endless = ask(model, QUESTIONS[0], 3000)
    events.until(Piece)
    prepared = model.prepare([ChatTurn("user", "Hello"), ChatTurn("assistant", "Hi")])
    found = events.until(Prepared, Completed)
    assert found[-1] == Prepared(prepared)  # it gives way
    model.load()
    assert isinstance(events.until(Ready, Completed)[-1], Ready)
    model.cancel(endless)
    assert isinstance(events.until(Completed, Transcribed)[-1], Completed)


def test_a_process_that_dies_is_replaced_for_all(model, events):
    for question in QUESTIONS[:3]:
        ask(model, question, 3000)
    events.until(Piece)
    psutil.Process(model._process.pid).send_signal(signal.SIGKILL)
    assert "killed" in events.until(Died)[-1].message
    texts, _ = collect(events, *(ask(model, question) for question in QUESTIONS[:3]))
    assert all(texts.values())
