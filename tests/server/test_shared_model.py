"""The model process that the clients of a server share."""

import asyncio
from collections.abc import Callable

import pytest
from fakes import FakeModel

from mmtui.chat.model_process import ModelPort
from mmtui.chat.protocol import Completed, Event, Piece, Prepared, Progress, Ready
from mmtui.server.shared_model import SharedModel


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
