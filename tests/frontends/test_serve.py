"""`mmtui serve`: access control, the limit of open chats, and a chat in a real browser."""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest
from aiohttp import (
    ClientSession,
    ClientWebSocketResponse,
    CookieJar,
    WSMsgType,
    WSServerHandshakeError,
    web,
)
from browser import browser

from mmtui.frontends.page_process import CommandStarter
from mmtui.frontends.serve import ChatServer, listen

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
QUESTION = "What is the capital of France?"


async def can_chat(session: ClientSession, url: str, **headers: str) -> bool:
    """Return whether a chat starts; otherwise the request must be forbidden."""
    try:
        async with session.ws_connect(url, headers=headers) as socket:
            return (await socket.receive()).type == WSMsgType.BINARY
    except WSServerHandshakeError as error:
        assert error.status == 403
        return False


async def get_status(session: ClientSession, url: str, **headers: str) -> int:
    async with session.get(url, headers=headers, allow_redirects=False) as response:
        return response.status


def open_session() -> ClientSession:
    """Return a client that, like browsers, also stores the cookies of IP addresses."""
    return ClientSession(cookie_jar=CookieJar(unsafe=True))


@pytest.mark.parametrize("options", [(), ("--host", "0.0.0.0"), ("--token", "o'pen sesame&")])
def test_requests_without_the_token_are_forbidden(serve, options):
    process, printed = serve(*options)
    parts = urlsplit(printed)
    assert parts.query.startswith("token=") and len(parts.query) > 12
    url = f"http://127.0.0.1:{parts.port}/"

    async def visit() -> None:
        async with ClientSession() as stranger:
            for path in ("", "static/js/textual.js", "download/x", "?token=", "?token=wrong%ff"):
                assert await get_status(stranger, url + path) == 403
            assert not await can_chat(stranger, f"{url}ws")
            assert not await can_chat(stranger, f"{url}ws?token=wrong")
            for wrong in ("wrong", "", "\udcff"):
                assert await get_status(stranger, url, Cookie=f"mmtui-{parts.port}={wrong}") == 403
        async with open_session() as friend, friend.get(f"{url}?{parts.query}") as page:
            assert page.status == 200 and str(page.url) == url  # the token is in a cookie now
            assert "/static/js/textual.js" in await page.text()
            assert f"ws://{urlsplit(url).netloc}/ws" in await page.text()
            assert "default-src 'self'" in page.headers["Content-Security-Policy"]
            assert page.headers["Referrer-Policy"] == "no-referrer"
            cookie = page.history[0].headers["Set-Cookie"]
            assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
            assert cookie.startswith(f"mmtui-{parts.port}=")
            async with friend.get(url, headers={"X-Forwarded-Proto": "https"}) as again:
                assert f"wss://{urlsplit(url).netloc}/ws" in await again.text()
            # Another page, of another site or of another port of this machine.
            for origin in ("https://evil.org", "http://127.0.0.1:1", "null", "http://["):
                assert not await can_chat(friend, f"{url}ws", Origin=origin)
                assert await get_status(friend, url, Origin=origin) == 403
            async with friend.ws_connect(f"{url}ws", headers={"Origin": url[:-1]}) as socket:
                assert (await socket.receive()).type == WSMsgType.BINARY
                token = parse_qs(parts.query)["token"][0]
                children = psutil.Process(process.pid).children(recursive=True)
                chat = [child for child in children if "serve" not in child.cmdline()]
                assert chat
                for child in chat:
                    assert token not in f"{child.cmdline()} {child.environ()}"

    asyncio.run(visit())


TARGETS = [
    "//evil.example/?token=T", "/\\evil.example/?token=T", "/%2f/evil.example?token=T",
    "/%5cevil.example/?token=T", "///evil.example?token=T", "http://evil.example/?token=T",
    "/?token=T&next=//evil.example", "//evil.example/..;/?token=T", "/@evil.example?token=T",
    "https:evil.example?token=T", "/?token=T#//evil.example", "/\t/evil.example?token=T",
]  # fmt: skip


@pytest.fixture(scope="module")
def fake_server() -> Iterator[str]:
    """The host and port of a server whose token is T."""
    with run_server() as address:
        yield address


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("host", ["", "evil.example"])
def test_the_server_only_redirects_to_its_own_page(fake_server, target, host):
    name, _, port = fake_server.partition(":")
    with socket.create_connection((name, int(port))) as connection:
        request = (
            f"GET {target} HTTP/1.1\r\nHost: {host or fake_server}\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    locations = [line for line in answer.split("\r\n") if line.lower().startswith("location:")]
    assert locations in ([], ["Location: /"])
    assert answer.split()[1] in ("302", "400", "403")


def test_without_a_token_the_host_header_must_name_this_machine(serve):
    process, url = serve("--token", "", stderr=subprocess.PIPE)
    assert urlsplit(url).hostname == "127.0.0.1" and "token" not in url
    assert b"warning: without a token, every user of this machine" in process.stderr.readline()

    async def visit() -> None:
        async with ClientSession() as session:
            assert await get_status(session, url) == 200
            assert await get_status(session, url, Host="localhost:8000") == 200
            # DNS rebinding and malformed names.
            for name in ("evil.org", "127.0.0.1.evil.org", "[", ""):
                assert await get_status(session, url, Host=name) in (400, 403)
            assert not await can_chat(
                session, f"{url}ws", Host="evil.org", Origin="http://evil.org"
            )
            assert not await can_chat(session, f"{url}ws", Origin="https://evil.org")
            assert await can_chat(session, f"{url}ws", Origin=url.rstrip("/"))

    asyncio.run(visit())


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_server_ends_at_once_and_ends_its_chats(serve, end):
    process, url = serve("--token", "")

    async def visit() -> None:
        async with ClientSession() as session, session.ws_connect(f"{url}ws") as socket:
            assert (await socket.receive()).type == WSMsgType.BINARY
            children = psutil.Process(process.pid).children(recursive=True)
            assert children
            process.send_signal(end)
            code = await asyncio.to_thread(process.wait, 10)
            assert code == (0 if end != signal.SIGKILL else -end)
            assert psutil.wait_procs(children, timeout=10)[1] == []

    asyncio.run(visit())


FIRST = asyncio.FIRST_COMPLETED
# Speaks the protocol of textual-serve and prints its process id; "die" ends it without a message.
FAKE_CHAT = """
import os, sys
def put(kind, text):
    sys.stdout.buffer.write(kind + len(text).to_bytes(4, "big") + text)
    sys.stdout.buffer.flush()
print("__GANGLION__", flush=True)
put(b"D", f"chat {os.getpid()} of {os.environ['COLUMNS']} columns".encode())
while head := sys.stdin.buffer.read(5):
    data = sys.stdin.buffer.read(int.from_bytes(head[1:], "big"))
    if b'"quit"' in data or data == b"die":
        break
    if data == b"key":
        name = os.environ.get("MMTUI_API_KEY_ENV", "")
        put(b"D", b"key " + os.environ.get(name, "none").encode())
        continue
    if data == b"title":
        put(b"M", b'{"type": "title", "title": "<b>Cats"}')
        continue
    if data == b"hang":
        while True:
            put(b"D", b"x" * 100_000)
    put(b"D", b"echo " + data)
"""


@contextmanager
def run_server(max_chats: int = 4, token: str = "T") -> Iterator[str]:
    """Run a server with fake chats in a thread of this process; yield its host and port."""
    with listen("127.0.0.1", 0) as listening:
        server = ChatServer(
            listening, token, max_chats, CommandStarter([sys.executable, "-c", FAKE_CHAT])
        )
        loop, stop = asyncio.new_event_loop(), asyncio.Event()

        async def run() -> None:
            runner = web.AppRunner(await server._make_app(), shutdown_timeout=0.1)
            await runner.setup()
            await web.SockSite(runner, listening).start()
            await stop.wait()
            await runner.cleanup()

        thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
        thread.start()
        try:
            yield "{}:{}".format(*listening.getsockname())
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()


async def receive_text(socket: ClientWebSocketResponse) -> str:
    message = await socket.receive(timeout=60)
    return message.data.decode() if message.type == WSMsgType.BINARY else ""


def find_fake_chats() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if FAKE_CHAT in child.cmdline()]


def parse_pid(text: str) -> int:
    return int(text.split()[1])


def test_twenty_open_pages_stay_within_the_limit_of_chats(monkeypatch):
    # The pages of this test answer no pings while they are not read.
    monkeypatch.setattr("mmtui.frontends.serve.HEARTBEAT_S", 600.0)
    monkeypatch.setattr("mmtui.frontends.served_chat.EXIT_TIMEOUT_S", 1.0)

    async def visit(address: str) -> None:
        async with ClientSession(headers={"Cookie": f"mmtui-{address[10:]}=T"}) as session:
            pages = [await session.ws_connect(f"http://{address}/ws?width=77") for _ in range(20)]
            started = [await receive_text(page) for page in pages]
            chatting = [pages[at] for at, text in enumerate(started) if text.startswith("chat ")]
            waiting = [page for page in pages if page not in chatting]
            pids = [parse_pid(text) for text in started if text.startswith("chat ")]
            assert len(chatting) == 4 and f"chat {pids[0]} of 77 columns" in started
            notices = [text for text in started if "limit of 4 open chats" in text]
            assert len(notices) == 16 and "\r\n" in notices[0]
            assert len(find_fake_chats()) == 4
            # A slot is freed by a page that closes, a lost connection, a chat that exits and one
            # that hangs.
            await chatting[0].close()
            chatting[1]._response.connection.transport.abort()
            await chatting[2].send_json(["stdin", "die"])
            await chatting[3].send_json(["stdin", "hang"])
            await chatting[3].receive()
            chatting[3]._response.connection.transport.abort()
            assert (await chatting[2].receive(timeout=60)).type == WSMsgType.CLOSE
            await waiting.pop().close()  # leaves the queue
            reading = {asyncio.create_task(receive_text(page)): page for page in waiting}
            started = []
            while len(started) < 4:
                done, _ = await asyncio.wait(
                    set(reading) - set(started), timeout=60, return_when=FIRST
                )
                assert done and all(task.result().startswith("chat ") for task in done)
                started += done
            assert not [pid for pid in pids if psutil.pid_exists(pid)]
            page = reading[started[0]]
            await page.send_json(["stdin", "hi"])
            assert await receive_text(page) == "echo hi"
            assert len(find_fake_chats()) == 4

    with run_server() as address:
        asyncio.run(visit(address))
    assert find_fake_chats() == []


def test_the_size_of_a_terminal_is_limited():
    async def visit(address: str) -> None:
        async with (
            ClientSession(headers={"Cookie": f"mmtui-{address[10:]}=T"}) as session,
            session.ws_connect(f"http://{address}/ws") as page,
        ):
            assert (await receive_text(page)).startswith("chat ")
            for width, height in (("wide", 24), (80, None), ([80], {}), (10_000_000, -3)):
                await page.send_json(["resize", {"width": width, "height": height}])
            kind, _, message = (await receive_text(page)).partition(" ")
            assert kind == "echo"
            assert json.loads(message) == {"type": "resize", "width": 1000, "height": 1}

    with run_server() as address:
        asyncio.run(visit(address))


def test_with_an_endpoint_chats_have_its_key(monkeypatch):
    monkeypatch.setenv("MMTUI_API_KEY_ENV", "UPSTREAM_KEY")
    monkeypatch.setenv("UPSTREAM_KEY", "of the endpoint")

    async def visit(address: str) -> None:
        async with (
            ClientSession(headers={"Cookie": f"mmtui-{address[10:]}=T"}) as session,
            session.ws_connect(f"http://{address}/ws") as page,
        ):
            assert (await receive_text(page)).startswith("chat ")
            await page.send_json(["stdin", "key"])
            assert await receive_text(page) == "key of the endpoint"

    with run_server() as address:
        asyncio.run(visit(address))


def test_the_title_of_a_conversation_is_sent_to_its_page():
    async def visit(address: str) -> None:
        async with (
            ClientSession(headers={"Cookie": f"mmtui-{address[10:]}=T"}) as session,
            session.ws_connect(f"http://{address}/ws") as page,
        ):
            assert (await receive_text(page)).startswith("chat ")
            await page.send_json(["stdin", "title"])
            assert await page.receive_json(timeout=60) == ["title", "<b>Cats"]

    with run_server() as address:
        asyncio.run(visit(address))


def test_a_connection_that_answers_no_pings_frees_its_slot(monkeypatch):
    monkeypatch.setattr("mmtui.frontends.serve.HEARTBEAT_S", 1.0)

    async def visit(address: str) -> None:
        url = f"http://{address}/ws"
        async with (
            ClientSession(headers={"Cookie": f"mmtui-{address[10:]}=T"}) as session,
            session.ws_connect(url, autoping=False) as silent,
        ):
            started = await receive_text(silent)
            async with session.ws_connect(url) as other:
                assert "This chat starts" in await receive_text(other)
                assert (await receive_text(other)).startswith("chat ")
                assert not psutil.pid_exists(parse_pid(started))

    with run_server(max_chats=1) as address:
        asyncio.run(visit(address))


def test_an_address_that_can_t_be_served_is_a_one_line_error(serve, mmtui):
    _, url = serve()
    for arguments, code, message in (
        (("--port", urlsplit(url).port), 1, "is in use\nhint: --port 0"),
        (("--token", 'a b\n"'), 2, "--token must consist of printable ASCII"),
        (("--token", "é"), 2, "--token must consist of printable ASCII"),
        (("--token", "sesame "), 2, "--token must consist of printable ASCII"),
        (("--host", "no host"), 2, "there is no host 'no host'\nhint: "),
        (("--host", "192.0.2.1"), 2, "this machine has no address 192.0.2.1\nhint: "),
    ):
        run = mmtui("serve", *arguments)
        assert (run.code, run.out) == (code, "") and message in run.err
        assert run.err.startswith("error: ") and len(run.err.splitlines()) == 2


def test_only_llama_cpp_answers_several_requests_together(mmtui):
    run = mmtui("serve", "--port", 0, "--engine", "torch", "--parallel", 2)
    assert (run.code, run.out) == (2, "")
    assert run.err == "error: torch answers one request at a time\nhint: --engine llamacpp\n"
    run = mmtui("serve", "--port", 0, "--endpoint", "http://127.0.0.1:1/v1", "--parallel", 2)
    assert (run.code, run.out) == (2, "")
    hint = "pass --endpoint ''"
    assert run.err == f"error: --parallel needs a model on this machine\nhint: {hint}\n"
    for number in (0, 33):
        run = mmtui("serve", "--port", 0, "--parallel", number)
        assert (run.code, run.out) == (2, "") and "'--parallel'" in run.err


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_question_is_answered_in_a_browser(serve, smol, mmtui, tmp_path):
    _, url = serve("--model", "smol", "--token", "sesame")

    async def chat() -> None:
        assert CHROMIUM
        async with browser(CHROMIUM, tmp_path / "chromium") as page:
            await page.open(url)
            await page.wait_for("Ask something")
            await page.type(f"{QUESTION}\r")
            shown = await page.wait_for(r"capital of France is Paris\.")
            assert "smol" in shown
            assert await page.evaluate("document.title") == f"{QUESTION} - mmtui"

    asyncio.run(chat())
    (stored,) = json.loads(
        mmtui("history", "list", "--json", env={"XDG_DATA_HOME": str(tmp_path)}).out
    )
    assert stored["title"] == QUESTION
