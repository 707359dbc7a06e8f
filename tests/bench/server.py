"""Load on the API of `mmtui serve`: 50 clients, half of which hang up, and a model that is a fake.

`PYTHONPATH=tests python tests/bench/server.py [SECONDS]` prints the memory, the open files and the
threads of the server, and fails if they grow or if an answer is lost. The default is 120 s.
"""

import asyncio
import multiprocessing
import sys
import time
from collections import deque
from multiprocessing.connection import Connection

import psutil
from api_server import TOKEN, serve_api
from load_clients import run_clients

CLIENTS, REQUESTS = 50, 10
MAX_GROWTH = 1.1  # of the memory, after the first round


def serve(connection: Connection) -> None:
    with serve_api() as server:
        model = server.model  # whose records of all requests would grow
        model.asked = model.options = model.pictures = deque(maxlen=1)
        model.schemas = deque(maxlen=1)
        model.cancelled = deque(maxlen=1)
        connection.send(server.url)
        connection.recv()


def main(seconds: float) -> int:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    process.start()
    url, server = ours.recv(), psutil.Process(process.pid)
    end, answered, rounds = time.monotonic() + seconds, 0, []
    while time.monotonic() < end:
        outcome = asyncio.run(run_clients(url, TOKEN, CLIENTS, REQUESTS))
        assert outcome.answered == outcome.abandoned == CLIENTS * REQUESTS // 2, outcome
        answered += outcome.answered
        memory, files = server.memory_info().rss / 1e6, server.num_fds()
        rounds.append((memory, files))
        print(f"{answered} answers, {memory:.0f} MB, {files} files, {server.num_threads()} threads")
    ours.send(None)
    process.join()
    # Up to one connection of each client is still being closed.
    (first_memory, first_files), (memory, files) = rounds[0], rounds[-1]
    return int(memory > MAX_GROWTH * first_memory or files > first_files + CLIENTS)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 120))
