"""The chat in a browser: textual-serve, with a guard at its door.

Whoever gets in may do what the user may: `/export` writes files, `/image` reads them. So nobody
gets in without the token, not even another user of this machine or another page in the browser.
"""

import asyncio
import errno
import hmac
import ipaddress
import secrets
import shlex
import socket
import sys
from urllib.parse import SplitResult, quote, urlsplit

import aiohttp_jinja2
from aiohttp import web
from aiohttp.typedefs import Handler
from textual_serve.server import Server

from mmtui.errors import MmtuiError, UsageError
from mmtui.frontends.served_chat import ServedChat

PATIENCE_S = 1.0  # how long connections may take to end when the server does
HEARTBEAT_S = 10.0  # after 1.5 times as long, a connection that says nothing is given up
FULL = """
  The limit of {} open chats is reached; mmtui serve --max-chats sets it.
  This chat begins as soon as another one is closed.
"""
HEADERS = {
    # The page of textual-serve fetches a font from elsewhere: nothing is fetched from elsewhere.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline';"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# Typing must not need a click first.
FOCUS = """<script>
addEventListener("load", () => document.querySelector(".xterm-helper-textarea").focus());
</script>"""


class ChatServer(Server):
    """A web server that starts a separate chat for each page."""

    def __init__(
        self, listening: socket.socket, token: str, max_chats: int, command: list[str]
    ) -> None:
        """Prepare to serve.

        Args:
            listening: The socket to serve at.
            token: Who has it gets in; "" lets in everybody who calls this machine by a name or an
                address of its own.
            max_chats: How many chats may be open at once.
            command: Starts a chat.
        """
        host, port = listening.getsockname()[:2]
        super().__init__(shlex.join(command), host, port, title="mmtui")
        self._listening, self._token, self._command = listening, token, command
        self._cookie = f"mmtui-{port}"  # browsers tell hosts apart, but not ports
        self._max_chats, self._places = max_chats, asyncio.Semaphore(max_chats)
        self._chats: set[ServedChat] = set()

    def run(self) -> None:
        """Serve until Ctrl-C."""
        web.run_app(
            self._make_app(), sock=self._listening, shutdown_timeout=PATIENCE_S,
            access_log=None, print=lambda *_: None,
        )  # fmt: skip

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._guard)
        app.on_response_prepare.append(_add_headers)
        return app

    async def on_startup(self, app: web.Application) -> None:
        """Print nothing."""

    async def on_shutdown(self, app: web.Application) -> None:  # noqa: ARG002
        """End all chats."""
        await asyncio.gather(*(chat.stop() for chat in self._chats))

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Run a chat for as long as its page is open."""
        websocket = web.WebSocketResponse(heartbeat=HEARTBEAT_S)
        await websocket.prepare(request)
        full = FULL.format(self._max_chats)
        chat = ServedChat(self._command, websocket, self._places, full, self.download_manager)
        self._chats.add(chat)
        try:
            await chat.start(_cells(request, "width", 80), _cells(request, "height", 24))
            await self._process_messages(websocket, chat)
        finally:
            await chat.stop()
            self._chats.remove(chat)
        return websocket

    async def handle_index(self, request: web.Request) -> web.Response:
        """Serve the page; its chat is at the host that the browser asked."""
        has_tls = request.headers.get("X-Forwarded-Proto") == "https"  # of a proxy before us
        page = aiohttp_jinja2.render_template(
            "app_index.html",
            request,
            {
                "font_size": 16,
                "app_websocket_url": f"{'wss' if has_tls else 'ws'}://{request.host}/ws",
                "config": {"static": {"url": "/static/"}},
                "application": {"name": self.title},
            },
        )
        page.text = f"{page.text}{FOCUS}"
        return page

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is not None and _split(origin).netloc != request.host:
            raise web.HTTPForbidden(text="mmtui: another page may not use this chat")
        if not self._token:
            # A page elsewhere can make its own name mean this machine (DNS rebinding).
            if not self._is_own_name(_split(f"//{request.host}").hostname or ""):
                raise web.HTTPForbidden(text="mmtui: this machine is not called that")
        elif self._is_token(request.query.get("token")):
            welcome = web.HTTPFound("/")  # out of the address bar, into a cookie
            welcome.set_cookie(self._cookie, self._token, httponly=True, samesite="Strict")
            raise welcome
        elif not self._is_token(request.cookies.get(self._cookie)):
            raise web.HTTPForbidden(text="mmtui: open the address that `mmtui serve` printed")
        return await handler(request)

    def _is_token(self, given: str | None) -> bool:
        if given is None:
            return False
        return hmac.compare_digest(given.encode(errors="replace"), self._token.encode())

    def _is_own_name(self, host: str) -> bool:
        """Return whether a host name is safe from DNS rebinding."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return host.rstrip(".").lower() in ("localhost", socket.gethostname().lower())
        return True


def serve(host: str, port: int, token: str | None, max_chats: int, options: list[str]) -> None:
    """Serve until Ctrl-C; the address is printed.

    Args:
        host: A name or an address of this machine.
        port: 0 takes a free one.
        token: None makes one up; "" asks for none.
        max_chats: How many chats may be open at once.
        options: Of the `mmtui` command, for each chat.
    """
    if token is None:
        token = secrets.token_urlsafe()
    with listen(host, port) as listening:
        address, taken = listening.getsockname()[:2]
        name = socket.gethostname() if address in ("0.0.0.0", "::") else host
        place = f"[{name}]:{taken}" if ":" in name else f"{name}:{taken}"
        print(f"http://{place}/{f'?token={quote(token)}' if token else ''}", flush=True)
        if not token:
            print(f"warning: {_waiver(address)}", file=sys.stderr)
        print("Ctrl-C ends it", file=sys.stderr, flush=True)
        command = [sys.executable, "-P", "-m", "mmtui", *options]
        ChatServer(listening, token, max_chats, command).run()


def _waiver(address: str) -> str:
    is_local = ipaddress.ip_address(address).is_loopback
    who = "every user of this machine" if is_local else "everybody who reaches this machine"
    return f"without a token, {who} can chat as you, and read and write your files"


def listen(host: str, port: int) -> socket.socket:
    """Raises UsageError for an address that is not ours, MmtuiError for a port that is busy."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (socket.gaierror, UnicodeError):
        raise UsageError(f"there is no host {host!r}", "--host 127.0.0.1") from None
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            hint = "--host 0.0.0.0 takes all its addresses"
            raise UsageError(f"this machine has no address {host}", hint) from None
        if error.errno == errno.EADDRINUSE:
            raise MmtuiError(f"port {port} is in use", "--port 0 takes a free one") from None
        raise MmtuiError(f"port {port} can't be used: {error.strerror}", "--port 8000") from None


def _split(url: str) -> SplitResult:
    """Return the parts of a URL; they are empty if it is invalid."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _cells(request: web.Request, name: str, default: int) -> int:
    """A width or a height in characters, as a page asks for it."""
    asked = request.query.get(name, "")
    return min(max(int(asked), 1), 1000) if asked.isdecimal() and len(asked) < 6 else default


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
