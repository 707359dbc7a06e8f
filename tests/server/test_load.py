"""Fifty clients at once, half of which hang up in mid-stream."""

import asyncio
import json
from urllib.request import urlopen

from api_server import TOKEN, serve_api
from load_clients import run_clients


def test_no_answer_is_lost_and_nothing_is_left_behind(caplog):
    with serve_api() as server:
        outcome = asyncio.run(run_clients(server.url, TOKEN, count=50, requests=4))
        assert (outcome.answered, outcome.abandoned) == (100, 100)
        # The queue works on, and is empty in the end.
        again = asyncio.run(run_clients(server.url, TOKEN, count=1, requests=1))
        assert again.answered == 1
        assert server.model.most_running == 1
        with urlopen(f"{server.root}/health") as response:
            assert json.loads(response.read()) == {"status": "ok", "waiting": 0}
    assert not caplog.records  # a client that hangs up is no error
