"""Pages of `mmtui serve` and the API: each page has a key of its own, while it is open."""

import asyncio
import json

from aiohttp import ClientSession, WSMsgType
from api_server import TOKEN, ApiServer, serve_api

# Speaks the protocol of textual-serve, and prints its key.
PAGE = """
import os, sys
text = os.environ[os.environ["MMTUI_API_KEY_ENV"]].encode()
print("__GANGLION__", flush=True)
sys.stdout.buffer.write(b"D" + len(text).to_bytes(4, "big") + text)
sys.stdout.buffer.flush()
sys.stdin.read()
"""


async def get_status(session: ClientSession, url: str, **headers: str) -> int:
    async with session.get(url, headers=headers) as response:
        return response.status


async def visit(server: ApiServer) -> None:
    port = server.root.rpartition(":")[2]
    models = f"{server.url}/models"
    async with ClientSession() as session:
        assert json.loads(await (await session.get(f"{server.root}/health")).read()) == {
            "status": "idle",
            "waiting": 0,
        }
        cookie = {"Cookie": f"mmtui-{port}={TOKEN}"}
        async with session.ws_connect(f"{server.root}/ws", headers=cookie) as page:
            message = await page.receive(timeout=60)
            assert message.type == WSMsgType.BINARY
            key = message.data.decode()
            assert key != TOKEN
            assert await get_status(session, models, Authorization=f"Bearer {key}") == 200
            # It is valid for the API only.
            assert await get_status(session, server.root, Cookie=f"mmtui-{port}={key}") == 403
            # An open page loads the model.
            async with session.get(f"{server.root}/health") as response:
                assert (await response.json())["status"] == "ok"
        async with asyncio.timeout(60):
            while await get_status(session, models, Authorization=f"Bearer {key}") != 401:
                pass  # the server still ends the chat of the page


def test_the_key_of_a_page_is_valid_for_the_api_while_the_page_is_open():
    with serve_api(page=PAGE) as server:
        asyncio.run(visit(server))
