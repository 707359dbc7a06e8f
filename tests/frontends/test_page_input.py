"""What is typed in a page of `mmtui serve` before its chat is drawn is not lost."""

import asyncio
import re
import shutil

import pytest
from aiohttp import ClientSession, WSMsgType
from browser import browser
from scripted_server import ScriptedServer, reply

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
NOTICE = "there is no command /nonsense"  # as in the terminal
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def test_keys_before_the_chat_has_started_are_handled(serve):
    async def type_at_once(url: str) -> None:
        async with ClientSession() as session, session.ws_connect(f"{url}ws") as socket:
            for key in "/nonsense\r":
                await socket.send_json(["stdin", key])
            drawn = b""
            async with asyncio.timeout(60):
                while NOTICE not in ESCAPES.sub("", drawn.decode(errors="replace")):
                    message = await socket.receive()
                    drawn += message.data if message.type == WSMsgType.BINARY else b""

    with ScriptedServer(reply("Hi.")) as server:
        _, url = serve("--endpoint", server.url, "--token", "")
        asyncio.run(type_at_once(url))


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_keys_before_the_page_has_loaded_are_handled(serve, tmp_path):
    async def type_at_once(url: str) -> None:
        assert CHROMIUM
        async with browser(CHROMIUM, tmp_path / "chromium") as page:
            await page.open(url)
            await page.wait_until_painted()
            await page.type("/nonsense\r")
            await page.wait_for(NOTICE)

    with ScriptedServer(reply("Hi.")) as server:
        _, url = serve("--endpoint", server.url, "--token", "")
        asyncio.run(type_at_once(url))
