"""The model process that the clients of a server share."""

import asyncio

from fakes import FakeModel

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
