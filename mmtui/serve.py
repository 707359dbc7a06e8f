"""The chat in a browser: textual-serve, with a guard at its door.

Whoever gets in may do what the user may, `/export` and `/image` included. So any other page that
the browser has open must not get in, nor, beyond this machine, anybody without the token.
"""

import errno
import hmac
import ipaddress
import secrets
import shlex
import socket
import sys
from urllib.parse import quote, urlsplit

import aiohttp_jinja2
from aiohttp import web
from aiohttp.typedefs import Handler
from textual_serve.server import Server
from yarl import URL

from mmtui.errors import MmtuiError, UsageError

PATIENCE_S = 1.0  # how long open chats may take to end when the server does
HEADERS = {
    # The page of textual-serve fetches a font from elsewhere: nothing is fetched from elsewhere.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline';"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
# Typing must not need a click first.
FOCUS = """<script>
addEventListener("load", () => document.querySelector(".xterm-helper-textarea").focus());
</script>"""


class ChatServer(Server):
    """Each page that is opened is a chat of its own."""

    def __init__(self, listening: socket.socket, token: str | None, options: list[str]) -> None:
        """`token` None lets all in who call this machine by a name that only it has."""
        command = [sys.executable, "-P", "-m", "mmtui", *options]
        host, port = listening.getsockname()[:2]
        super().__init__(shlex.join(command), host, port, title="mmtui")
        self._listening, self._token = listening, token
        self._cookie = f"mmtui-{port}"  # browsers tell hosts apart, but not ports

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
        """Nothing is printed."""

    async def handle_index(self, request: web.Request) -> web.Response:
        """By the name under which the browser found us; textual-serve knows only one."""
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
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text="mmtui: another page may not use this chat")
        if self._token is None:
            # A page elsewhere can make its own name mean this machine (DNS rebinding).
            if not is_loopback(request.url.host or ""):
                raise web.HTTPForbidden(text="mmtui: this machine is not called that")
        elif self._is_token(request.query.get("token")):
            welcome = web.HTTPFound(URL(request.path))  # out of the address bar, into a cookie
            welcome.set_cookie(self._cookie, self._token, httponly=True, samesite="Lax")
            raise welcome
        elif not self._is_token(request.cookies.get(self._cookie)):
            raise web.HTTPForbidden(text="mmtui: open the address with the token in it")
        return await handler(request)

    def _is_token(self, given: str | None) -> bool:
        assert self._token is not None
        return given is not None and hmac.compare_digest(given.encode(), self._token.encode())


def serve(host: str, port: int, token: str, options: list[str]) -> None:
    """Serve until Ctrl-C, at a port of the system's choice if it is 0; the address is printed.

    `token` "": one is made up where others than this machine could come.
    """
    with listen(host, port) as listening:
        address, taken = listening.getsockname()[:2]
        if not is_loopback(address):
            token = token or secrets.token_urlsafe()
        name = socket.gethostname() if address in ("0.0.0.0", "::") else host
        place = f"[{name}]:{taken}" if ":" in name else f"{name}:{taken}"
        print(f"http://{place}/{f'?token={quote(token)}' if token else ''}", flush=True)
        print("Ctrl-C ends it", file=sys.stderr, flush=True)
        ChatServer(listening, token or None, options).run()


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


def is_loopback(host: str) -> bool:
    """Whether only this machine itself can mean that."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
