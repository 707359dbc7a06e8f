"""A conversation that is read ahead of its next question gives way to all other requests."""

import asyncio
import http.client
import json
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import pytest
from api_server import TOKEN, serve_api
from fakes import FakeModel

from mmtui.chat.protocol import ChatTurn, Completed, Event, Prepared
from mmtui.server import shared_model
from mmtui.server.errors import ApiError
from mmtui.server.shared_model import Sampling, SharedModel

HISTORY = (ChatTurn("user", "Tell me a story."), ChatTurn("assistant", "Once upon a time."))
QUESTION = (ChatTurn("user", "What is a cat?"),)
SAMPLING = Sampling(8, 0.0, 0.95, None, None)


class Shared:
    """A shared model that is loaded, and the fake below it."""

    def __init__(self) -> None:
        self.fake = FakeModel()
        self.model = SharedModel(self._open_port)
        self.model.load()

    async def receive(self, *events: Event) -> None:
        """Receive events of the model process."""
        for event in events:
            self._send(event)
        await asyncio.sleep(0)

    @property
    def read(self) -> list[tuple]:
        """The conversations that were read ahead, without the start of all prompts."""
        return self.fake.prepared[1:]

    def _open_port(self, send: Callable[[Event], None]) -> FakeModel:
        self._send = send
        return self.fake


def run(test: Callable[[Shared], Awaitable[None]]) -> None:
    async def run_in_loop() -> None:
        shared = Shared()
        await test(shared)
        shared.model.close()

    asyncio.run(run_in_loop())


def complete(number: int) -> Completed:
    return Completed(number, "stop", 20, 8, 3, 0.1, 50.0)


def test_a_conversation_is_read_when_nothing_else_is_to_do():
    async def read(shared: Shared) -> None:
        question = shared.model.generate("a", QUESTION, SAMPLING)
        picture = ChatTurn("user", "", ("file",))
        ahead = shared.model.prepare("b", (*HISTORY, picture), 8)
        assert shared.read == [] and (ahead.place, shared.model.waiting) == (0, 0)
        await shared.receive(complete(question.number))
        assert shared.read == [(HISTORY, ("file",))]
        await shared.receive(Prepared(ahead.number))
        assert ahead.events.get_nowait() == Prepared(ahead.number)

    run(read)


def test_a_request_interrupts_the_reading_which_goes_on_afterwards():
    async def interrupt(shared: Shared) -> None:
        ahead = shared.model.prepare("a", HISTORY, 8)
        given_way = Prepared(ahead.number)
        question = shared.model.generate("b", QUESTION, SAMPLING)
        assert shared.fake.asked == [QUESTION] and question.place == 0
        await shared.receive(given_way)
        assert ahead.events.empty()
        await shared.receive(complete(question.number))
        assert shared.read == [(HISTORY, ())] * 2
        await shared.receive(Prepared(ahead.number))
        assert ahead.events.get_nowait() == Prepared(ahead.number)

    run(interrupt)


def test_what_nobody_waits_for_is_not_read():
    async def cancel(shared: Shared) -> None:
        first, second, third = (shared.model.prepare(name, HISTORY, 8) for name in "abc")
        shared.model.cancel(second)
        shared.model.cancel(first)
        assert shared.fake.cancelled == [first.number] and len(shared.read) == 2
        shared.model.generate("b", QUESTION, SAMPLING)
        shared.model.cancel(third)
        await shared.receive(complete(shared.fake.number))
        assert len(shared.read) == 2

    run(cancel)


def test_the_number_of_conversations_that_wait_is_limited(monkeypatch):
    monkeypatch.setattr(shared_model, "MAX_WAITING", 1)

    async def fill(shared: Shared) -> None:
        for _ in range(2):
            shared.model.prepare("a", HISTORY, 8)
        with pytest.raises(ApiError, match="1 requests are waiting"):
            shared.model.prepare("a", HISTORY, 8)
        shared.model.generate("a", QUESTION, SAMPLING)  # is not affected

    run(fill)


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_of_no_tokens_reads_the_conversation(field, stream):
    messages = [{"role": turn.role, "content": turn.text} for turn in HISTORY]
    body = {"messages": [*messages, {"role": "user", "content": ""}], field: 0, "stream": stream}
    with serve_api() as server:
        connection = http.client.HTTPConnection(urlsplit(server.root).netloc, timeout=60)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        text = connection.getresponse().read().decode()
        assert server.model.prepared[-1] == (HISTORY, ()) and server.model.asked == []
    if stream:
        lines = [line for line in text.split("\n\n") if line.startswith("data: ")]
        assert lines.pop() == "data: [DONE]"
        [choice] = json.loads(lines[-1][6:])["choices"]
        assert (choice["delta"], choice["finish_reason"]) == ({}, "length")
    else:
        [choice] = json.loads(text)["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("", "length")
