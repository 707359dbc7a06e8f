"""Many clients of the API at once, some of which hang up in mid-stream."""

import asyncio
import json
import random
from dataclasses import dataclass

from aiohttp import ClientSession, ClientTimeout


@dataclass
class Outcome:
    """What became of the requests."""

    answered: int = 0
    abandoned: int = 0
    refused: int = 0  # because the queue was full; they were sent again


async def run_clients(url: str, token: str, count: int, requests: int) -> Outcome:
    """Let clients send requests one after the other; every second client hangs up.

    Args:
        url: The address of the API.
        token: Its token.
        count: The number of clients.
        requests: How many requests each of them sends.

    Raises:
        AssertionError: An answer is wrong or incomplete.
    """
    outcome = Outcome()
    headers = {"Authorization": f"Bearer {token}"}
    async with ClientSession(headers=headers, timeout=ClientTimeout(total=600)) as session:

        async def run(client: int) -> None:
            choices = random.Random(client)
            for number in range(requests):
                text = f"client {client} request {number}"
                pieces = choices.randrange(4) if client % 2 else None
                while not await _ask(session, url, text, pieces, outcome):
                    await asyncio.sleep(0.05)  # as a client does after the status 429

        await asyncio.gather(*map(run, range(count)))
    return outcome


async def _ask(
    session: ClientSession, url: str, text: str, pieces: int | None, outcome: Outcome
) -> bool:
    """Send a request and check its reply; hang up after some pieces.

    Returns:
        Whether the request was accepted.
    """
    body = {"messages": [{"role": "user", "content": text}], "stream": True}
    async with session.post(f"{url}/chat/completions", json=body) as response:
        if response.status == 429:
            outcome.refused += 1
            return False
        assert response.status == 200, await response.text()
        reply, count, lines = "", 0, []
        async for line in response.content:
            lines.append(line.strip())
            if pieces is not None and count >= pieces:
                response.close()
                outcome.abandoned += 1
                return True
            if line.startswith(b"data: {"):
                delta = json.loads(line[6:])["choices"][0]["delta"]
                reply += delta.get("content", "")
                count += 1
        assert reply == f"You said: {text}", (reply, lines)
        assert b"data: [DONE]" in lines
        outcome.answered += 1
        return True
