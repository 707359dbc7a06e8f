"""The model process that the clients of a server share."""

import asyncio
from collections.abc import Callable

import pytest
from fakes import FakeModel

from mmtui.chat.model_process import ModelPort
from mmtui.chat.protocol import Completed, Died, Event, Piece, Prepared, Progress, Ready
from mmtui.server.shared_model import Job, Sampling, SharedModel, Waiting


def test_what_every_question_needs_is_loaded_ahead_once():
    model = FakeModel()

    async def load() -> None:
        shared = SharedModel(lambda _: model)
        shared.load()
        shared.load()
        shared.close()

    asyncio.run(load())
    assert model.prepared == [((), ())] and model.closed


@pytest.mark.parametrize(
    "event", [Prepared(2), Piece(3, "Hi"), Completed(3, "stop", 20, 8, 3, 0.1, 50.0)]
)
def test_a_step_that_a_request_interrupts_is_not_reported_forever(event):
    async def load() -> None:
        senders: list[Callable[[Event], None]] = []

        def open_port(send: Callable[[Event], None]) -> ModelPort:
            senders.append(send)
            return FakeModel()

        shared = SharedModel(open_port)
        shared.load()
        step = Progress("loading the vision tower", 0, 1)
        for each in (Ready(1, "smol", 8192, 64, None), step):
            senders[0](each)
        await asyncio.sleep(0)
        assert shared.progress == step
        senders[0](event)
        await asyncio.sleep(0)
        assert shared.progress is None
        shared.close()

    asyncio.run(load())


class Queue:
    """A queue whose model answers as a test says."""

    def __init__(self, parallel: int) -> None:
        self.model = FakeModel()
        self.shared = SharedModel(self._open_port)
        self.shared.load()
        self.ready = Ready(self.model.number, "smol", 8192, 64, None, parallel=parallel)

    def _open_port(self, send: Callable[[Event], None]) -> FakeModel:
        self._send = send
        return self.model

    def ask(self, client: str) -> Job:
        return self.shared.generate(client, [], Sampling(9, 0.0, 0.9, None, None))

    async def send(self, *events: Event) -> None:
        for event in events:
            self._send(event)
        await asyncio.sleep(0)


def complete(number: int) -> Completed:
    return Completed(number, "stop", 20, 8, 3, 0.1, 50.0)


def read(job: Job) -> list[Event | Waiting]:
    return [job.events.get_nowait() for _ in range(job.events.qsize())]


def test_requests_run_together_once_the_model_is_loaded():
    async def run() -> None:
        queue = Queue(parallel=3)
        jobs = [queue.ask(client) for client in "abcde"]
        assert [job.place for job in jobs] == [0, 1, 2, 3, 4]
        assert (queue.shared.running, queue.shared.parallel) == (1, 1)
        await queue.send(queue.ready)
        assert [job.place for job in jobs] == [0, 0, 0, 1, 2]
        assert (queue.shared.running, queue.shared.waiting) == (3, 2)
        await queue.send(complete(jobs[1].number))
        assert [job.place for job in jobs] == [0, 0, 0, 0, 1]
        assert isinstance(read(jobs[1])[-1], Completed)
        queue.shared.cancel(jobs[0])
        assert queue.model.cancelled == [jobs[0].number]
        queue.shared.cancel(jobs[4])
        assert queue.shared.waiting == 0

    asyncio.run(run())


def test_each_request_gets_its_own_events():
    async def run() -> None:
        queue = Queue(parallel=2)
        await queue.send(queue.ready)
        one, two = queue.ask("a"), queue.ask("b")
        step, common = Progress("seeing", 0, 1, two.number), Progress("loading", 0, 1)
        pieces = [Piece(one.number, "1"), Piece(two.number, "2")]
        await queue.send(*pieces, step, common)
        assert read(one) == [pieces[0], common] and read(two) == [pieces[1], step, common]

    asyncio.run(run())


def test_all_that_run_end_when_the_process_dies_and_the_next_start_it_again():
    async def run() -> None:
        queue = Queue(parallel=2)
        await queue.send(queue.ready)
        jobs = [queue.ask(client) for client in "abcd"]
        died = Died("the model was killed", "send again to restart it")
        await queue.send(died)
        assert read(jobs[0]) == read(jobs[1]) == [died]
        assert (queue.shared.running, queue.shared.waiting) == (1, 1)
        assert queue.shared.is_loading
        await queue.send(Ready(queue.model.number - 1, "smol", 8192, 64, None, parallel=2))
        assert (queue.shared.running, queue.shared.waiting) == (2, 0)

    asyncio.run(run())
