"""The chat and `mmtui ask` with a model of `mmtui serve`."""

import os
import queue
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from api_server import TOKEN, ApiServer, serve_api

from mmtui.chat.endpoint_model import EndpointModel
from mmtui.chat.protocol import (
    ChatTurn,
    Completed,
    Event,
    Failed,
    Piece,
    Prepared,
    Progress,
    Ready,
    Transcribed,
)
from mmtui.endpoint.address import Endpoint, parse_endpoint


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with serve_api() as running:
        yield running


class Connected:
    """A model of the server, and its events."""

    def __init__(self, server: ApiServer) -> None:
        self.events: queue.Queue[Event] = queue.Queue()
        os.environ["TEST_KEY"] = TOKEN
        endpoint = parse_endpoint(server.url, "TEST_KEY")
        self.model = EndpointModel(endpoint, "auto", self.events.put)

    def wait_for(self, number: int) -> list[Event]:
        """Return the events up to the end of a request."""
        events = []
        while True:
            events.append(self.events.get(timeout=60))
            is_final = isinstance(events[-1], Completed | Failed | Transcribed | Ready | Prepared)
            if is_final and events[-1].number == number:
                return events

    def ask(self, text: str, *pictures: str) -> list[Event]:
        return self.wait_for(self.model.generate([ChatTurn("user", text, pictures)]))


@pytest.fixture
def connected(server) -> Iterator[Connected]:
    connected = Connected(server)
    yield connected
    connected.model.close()


def test_a_reply_with_a_picture(connected, server, cat):
    *events, completed = connected.ask("hi", str(cat))
    text = "".join(event.text for event in events if isinstance(event, Piece))
    assert text == "You said: hi"
    assert isinstance(completed, Completed)
    assert (completed.prompt_tokens, completed.cached_tokens) == (20, 8)
    assert (completed.dropped, completed.full, completed.repeats) == (2, True, False)
    assert server.model.pictures[-1][0].startswith(b"\x89PNG")


def test_the_server_transcribes(connected, server):
    clip = np.ones(1600, dtype=np.float32) / 2
    connected.wait_for(connected.model.load_speech())
    [transcribed] = connected.wait_for(connected.model.transcribe(clip))
    assert isinstance(transcribed, Transcribed) and transcribed.text == "1600 samples"
    assert connected.model._speech.process._process is None  # no process of its own


def test_the_server_gets_the_language_and_reports_it(connected, server):
    clip = np.ones(1600, dtype=np.float32) / 2
    [transcribed] = connected.wait_for(connected.model.transcribe(clip, "de"))
    assert isinstance(transcribed, Transcribed) and transcribed.language == "de"
    assert server.model.languages[-1] == "de"


def test_a_conversation_that_is_too_long_is_refused(connected):
    failed = connected.ask("long")[-1]
    assert isinstance(failed, Failed) and failed.is_refused


def test_the_place_in_the_queue_is_reported(connected, server):
    first = Connected(server)
    first.model.generate([ChatTurn("user", "hold")])
    assert server.model.started.acquire(timeout=60)
    number = connected.model.generate([ChatTurn("user", "hi")])
    step = connected.events.get(timeout=60)
    assert isinstance(step, Progress) and step.step == "place 1 in the server's queue"
    first.model.close()  # hangs up
    assert server.model.stopped.acquire(timeout=60)
    events = connected.wait_for(number)
    assert isinstance(events[-1], Completed)
    assert [(event.done, event.total) for event in events if isinstance(event, Progress)] == [
        (1, 1)
    ]


def test_the_progress_of_loading_is_shown_when_a_chat_opens():
    loaded = threading.Event()
    with serve_api(loaded=loaded) as server:
        connected = Connected(server)
        server.load()
        number = connected.model.load()
        step = connected.events.get(timeout=60)
        assert step == Progress("loading", 1, 2)
        loaded.set()
        ready = connected.wait_for(number)[-1]
        assert isinstance(ready, Ready) and (ready.model, ready.context) == ("smol", 8192)
        connected.model.close()


def test_ask_loads_nothing(server, mmtui, cat, tmp_path, clip_wav):
    clip = tmp_path / "clip.wav"
    clip.write_bytes(clip_wav)
    # A cache without weights: nothing could be loaded here.
    environment = {"MMTUI_ENDPOINT": server.url, "MMTUI_API_KEY": TOKEN}
    environment["XDG_CACHE_HOME"] = str(tmp_path)
    run = mmtui("ask", "--image", cat, "--audio", clip, "What?", env=environment)
    assert run.code == 0, run.err
    assert run.out == "You said: 16000 samples\nWhat?\n"
    assert "heard: 16000 samples" in run.err


HISTORY = [ChatTurn("user", "Tell me a story."), ChatTurn("assistant", "Once upon a time.")]


def test_the_server_reads_a_conversation_ahead(connected, server, cat):
    number = connected.model.prepare(HISTORY, [str(cat)], 512, "id", 0)
    assert connected.wait_for(number)[-1] == Prepared(number)
    turns, pictures = server.model.prepared[-1]
    assert list(turns) == HISTORY and len(pictures) == 1
    count = len(server.model.prepared)
    number = connected.model.prepare([], [], 512, "id", 0)  # nothing to read
    assert connected.wait_for(number)[-1] == Prepared(number)
    assert len(server.model.prepared) == count


def test_a_question_ends_the_reading(connected, server):
    ahead = connected.model.prepare([ChatTurn("user", "hold")], [], 512, "id", 0)
    assert server.model.started.acquire(timeout=60)
    events = connected.ask("hi")
    if Prepared(ahead) not in events:
        events += connected.wait_for(ahead)
    assert any(isinstance(event, Completed) for event in events) and Prepared(ahead) in events


def test_nothing_is_sent_to_another_machine_before_a_question(connected, server, monkeypatch):
    monkeypatch.setattr(Endpoint, "is_loopback", False)
    monkeypatch.setenv("no_proxy", "*")
    count = len(server.model.prepared)
    number = connected.model.prepare(HISTORY, [], 512, "id", 0)
    assert connected.wait_for(number)[-1] == Prepared(number)
    assert len(server.model.prepared) == count
