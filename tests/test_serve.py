"""`mmtui serve`: who gets in, who does not, and a chat in a real browser."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from aiohttp import ClientSession, CookieJar, WSMsgType, WSServerHandshakeError
from browser import browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen, str]]]:
    """Starts the installed command; returns its process and the address that it prints."""
    started = []

    def start(*arguments: str) -> tuple[subprocess.Popen, str]:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("mmtui"), "serve", "--port", "0", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
        )  # fmt: skip
        started.append(process)
        assert process.stdout
        return process, process.stdout.readline().decode().strip()

    yield start
    for process in started:
        process.terminate()
        process.wait(30)


async def chats(session: ClientSession, url: str, **headers: str) -> bool:
    """Whether a chat begins."""
    try:
        async with session.ws_connect(url, headers=headers) as socket:
            return (await socket.receive()).type == WSMsgType.BINARY
    except WSServerHandshakeError as error:
        assert error.status == 403
        return False


async def status(session: ClientSession, url: str, **headers: str) -> int:
    async with session.get(url, headers=headers, allow_redirects=False) as response:
        return response.status


def test_on_loopback_other_pages_and_other_names_are_kept_out(serve):
    _, url = serve()
    assert urlsplit(url).hostname == "127.0.0.1" and "token" not in url

    async def visit() -> None:
        async with ClientSession() as session:
            async with session.get(url) as page:
                assert page.status == 200 and "/static/js/textual.js" in await page.text()
                assert f"ws://{urlsplit(url).netloc}/ws" in await page.text()
                assert "default-src 'self'" in page.headers["Content-Security-Policy"]
            async with session.get(url, headers={"X-Forwarded-Proto": "https"}) as page:
                assert f"wss://{urlsplit(url).netloc}/ws" in await page.text()
            # Another site's page, and a name of another site's that means this machine.
            for name, value in (("Origin", "https://evil.org"), ("Host", "evil.org")):
                assert await status(session, url, **{name: value}) == 403
                assert not await chats(session, f"{url}ws", **{name: value})
            assert await status(session, url, Origin="null") == 403
            assert await chats(session, f"{url}ws", Origin=url.rstrip("/"))

    asyncio.run(visit())


@pytest.mark.parametrize("options", [("--host", "0.0.0.0"), ("--token", "o'pen sesame&")])
def test_with_a_token_nobody_else_gets_in(serve, options):
    _, printed = serve(*options)
    parts = urlsplit(printed)
    assert parts.query.startswith("token=") and len(parts.query) > 12
    url = f"http://127.0.0.1:{parts.port}/"

    async def visit() -> None:
        async with ClientSession() as stranger:
            for path in ("", "static/js/textual.js", "download/x", "?token=", "?token=wrong%ff"):
                assert await status(stranger, url + path) == 403
            assert not await chats(stranger, f"{url}ws")
            assert not await chats(stranger, f"{url}ws?token=wrong")
            assert await status(stranger, url, Cookie=f"mmtui-{parts.port}=wrong") == 403
        jar = CookieJar(unsafe=True)  # browsers keep cookies of bare addresses, too
        async with (
            ClientSession(cookie_jar=jar) as friend,
            friend.get(f"{url}?{parts.query}") as page,
        ):
            assert page.status == 200 and str(page.url) == url  # the token is in a cookie now
            cookie = page.history[0].headers["Set-Cookie"]
            assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
        kept = {"Cookie": cookie.partition(";")[0]}
        async with ClientSession(headers=kept) as friend:
            assert not await chats(friend, f"{url}ws", Origin="https://evil.org")
            assert await chats(friend, f"{url}ws", Origin=url.rstrip("/"))

    asyncio.run(visit())


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_once_and_leaves_no_chat_behind(serve, end):
    process, url = serve()

    async def visit() -> None:
        async with ClientSession() as session, session.ws_connect(f"{url}ws") as socket:
            assert (await socket.receive()).type == WSMsgType.BINARY
            children = psutil.Process(process.pid).children(recursive=True)
            assert children
            process.send_signal(end)
            assert await asyncio.to_thread(process.wait, 10) == 0
            assert psutil.wait_procs(children, timeout=10)[1] == []

    asyncio.run(visit())


def test_what_can_t_be_served_is_told_in_a_line(serve, mmtui):
    _, url = serve()
    for arguments, code, says in (
        (("--port", urlsplit(url).port), 1, "is in use\nhint: --port 0"),
        (("--host", "no host"), 2, "there is no host 'no host'\nhint: "),
        (("--host", "192.0.2.1"), 2, "this machine has no address 192.0.2.1\nhint: "),
    ):
        run = mmtui("serve", *arguments)
        assert (run.code, run.out) == (code, "") and says in run.err
        assert run.err.startswith("error: ") and len(run.err.splitlines()) == 2


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_a_question_is_typed_and_its_answer_read_in_a_browser(serve, smol, mmtui, tmp_path):
    _, url = serve("--model", "smol", "--token", "sesame")

    async def chat() -> None:
        assert CHROMIUM
        async with browser(CHROMIUM, tmp_path / "chromium") as page:
            await page.open(url)
            await page.shows("Ask something")
            await page.types("What is the capital of France?\r")
            shown = await page.shows(r"capital of France is Paris\.")
            assert "smol" in shown

    asyncio.run(chat())
    (kept,) = json.loads(
        mmtui("history", "list", "--json", env={"XDG_DATA_HOME": str(tmp_path)}).out
    )
    assert kept["title"] == "What is the capital of France?"
