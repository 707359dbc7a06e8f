"""Fifty clients at once, half of which hang up in mid-stream."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from urllib.request import Request, urlopen

from api_server import TOKEN, ApiServer, serve_api
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


def test_with_several_at_a_time_too(caplog):
    with serve_api(parallel=4) as server:
        outcome = asyncio.run(run_clients(server.url, TOKEN, count=50, requests=4))
        assert (outcome.answered, outcome.abandoned) == (100, 100)
        assert server.model.most_running <= 4
        assert read_health(server) == {"status": "ok", "waiting": 0, "parallel": 4, "running": 0}
    assert not caplog.records


def test_requests_are_answered_at_the_same_time():
    def ask(_: int) -> bytes:
        body = {"messages": [{"role": "user", "content": "hold"}]}
        request = Request(f"{server.url}/chat/completions", json.dumps(body).encode())
        request.add_header("Authorization", f"Bearer {TOKEN}")
        with urlopen(request) as response:
            return response.read()

    with serve_api(parallel=4) as server, ThreadPoolExecutor(6) as pool:
        replies = pool.map(ask, range(6))
        for _ in range(4):
            assert server.model.started.acquire(timeout=60)
        health = read_health(server)
        assert (health["parallel"], health["running"]) == (4, 4)
        server.model.released.set()
        assert all(b"You said: hold" in reply for reply in replies)
        assert server.model.most_running == 4


def read_health(server: ApiServer) -> dict:
    with urlopen(f"{server.root}/health") as response:
        return json.loads(response.read())
