"""The memory of `mmtui serve` with open pages, without the process of the model.

`python tests/bench/pages.py [COUNT ...]` opens that many pages, by default 1, 5 and 20, and prints
the proportional set size: memory that processes share counts once.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

import psutil
from aiohttp import ClientSession, ClientWebSocketResponse, CookieJar

MODEL_PROCESS = "multiprocessing.spawn"  # in the command line of the model's process
DRAWN_BYTES = 6000  # of a chat that is drawn
IDLE_S = 5.0  # after which nothing more is loaded


async def wait_until_drawn(socket: ClientWebSocketResponse) -> None:
    """Read until the chat is drawn, then go on reading in the background."""
    count = 0
    while count < DRAWN_BYTES:
        count += len((await socket.receive(timeout=120)).data)

    async def read() -> None:
        async for _ in socket:
            pass

    asyncio.create_task(read())  # noqa: RUF006


def measure_memory(server: psutil.Process) -> float:
    """Return the megabytes of a server and its pages."""
    processes = [server, *server.children(recursive=True)]
    parts = [each for each in processes if MODEL_PROCESS not in " ".join(each.cmdline())]
    return sum(each.memory_full_info().pss for each in parts) / 1e6


async def main(counts: list[int]) -> None:
    command = [Path(sys.executable).with_name("mmtui"), "serve", "--port", "0", "--model", "smol"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout
    url = process.stdout.readline().decode().strip()
    opened, first = 0, 0.0
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        await (await session.get(url)).read()
        for count in counts:
            while opened < count:
                await wait_until_drawn(await session.ws_connect(f"{url.split('?')[0]}ws"))
                opened += 1
            await asyncio.sleep(IDLE_S)
            memory = measure_memory(psutil.Process(process.pid))
            first = first or memory
            each = (memory - first) / max(count - counts[0], 1)
            print(f"{count} pages: {memory:.0f} MB, {each:.1f} MB for each after the first")
    process.terminate()
    process.wait()


if __name__ == "__main__":
    asyncio.run(main([int(count) for count in sys.argv[1:]] or [1, 5, 20]))
