"""The chat in a browser, and the API: textual-serve, with access control.

A chat can do what the user can: `/export` writes files, `/image` reads them. So every request needs
the token, also those of other users of this machine and of other pages in the browser.

The chats use the API, so that one process runs the model for all of them. The key of each is valid
for the API only, and as long as its page is open.
"""

import asyncio
import errno
import hmac
import ipaddress
import secrets
import socket
import sys
from collections.abc import Callable
from functools import partial
from urllib.parse import SplitResult, quote, urlsplit

import aiohttp_jinja2
from aiohttp import web
from aiohttp.typedefs import Handler
from textual_serve.server import Server

from mmtui.chat.backend import find_endpoint
from mmtui.chat.config import Config
from mmtui.chat.model_process import ModelProcess
from mmtui.errors import MmtuiError, UsageError
from mmtui.frontends.page_process import ChatOptions, PageStarter
from mmtui.frontends.page_script import add_script
from mmtui.frontends.served_chat import ServedChat, limit_size
from mmtui.pipeline.assets import checkpoint
from mmtui.server.api import CLIENT, Api
from mmtui.server.errors import ApiError

SHUTDOWN_TIMEOUT_S = 1.0  # for connections to close when the server ends
HEARTBEAT_S = 10.0  # interval of pings; a page that does not answer for half of it is disconnected
HEALTH = "/health"
PAGE_KEY = "MMTUI_PAGE_KEY"  # environment variable of the chats
FULL_NOTICE = """
  The limit of {} open chats is reached; mmtui serve --max-chats sets it.
  This chat starts as soon as another one is closed.
"""
HEADERS = {
    # Blocks requests to other hosts, such as the one for a font in the page of textual-serve.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline';"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class ChatServer(Server):
    """A web server that starts a separate chat for each page."""

    def __init__(
        self,
        listening: socket.socket,
        token: str,
        max_chats: int,
        starter: PageStarter,
        api: Api | None = None,
    ) -> None:
        """Prepare to serve.

        Args:
            listening: The socket to serve at.
            token: The secret that requests must have; "" accepts every request that names this
                machine in its Host header.
            max_chats: How many chats can be open at once.
            starter: Starts the process of a chat.
            api: The API under /v1; None serves only the chat.
        """
        host, port = listening.getsockname()[:2]
        super().__init__("", host, port, title="mmtui")
        self._listening, self._token, self._starter = listening, token, starter
        self._cookie = f"mmtui-{port}"  # cookies are shared by all ports of a host
        self._max_chats, self._slots = max_chats, asyncio.Semaphore(max_chats)
        self._chats: set[ServedChat] = set()
        self._keys: set[str] = set()  # of the open pages
        self._pages: set[asyncio.Task[web.WebSocketResponse]] = set()
        self._api = api

    def run(self) -> None:
        """Serve until Ctrl+C."""
        web.run_app(
            self._make_app(), sock=self._listening, shutdown_timeout=SHUTDOWN_TIMEOUT_S,
            access_log=None, print=lambda *_: None, handler_cancellation=True,
        )  # fmt: skip

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._guard)
        if self._api is not None:
            app.add_subapp("/v1", self._api.make_app())
            app.router.add_get(HEALTH, self._api.get_health)
        app.on_response_prepare.append(_add_headers)
        return app

    async def on_startup(self, app: web.Application) -> None:
        """Print nothing, unlike textual-serve."""

    async def on_shutdown(self, app: web.Application) -> None:  # noqa: ARG002
        """End all chats."""
        await asyncio.gather(*(chat.stop() for chat in self._chats))
        await asyncio.gather(*self._pages, return_exceptions=True)

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Run a chat for as long as its page is open.

        This is cancelled when the connection is lost; the chat still ends in its own time.
        """
        page = asyncio.create_task(self._run_page(request))
        self._pages.add(page)
        page.add_done_callback(self._pages.discard)
        return await asyncio.shield(page)

    async def _run_page(self, request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(heartbeat=HEARTBEAT_S)
        await websocket.prepare(request)
        notice = FULL_NOTICE.format(self._max_chats)
        key = secrets.token_urlsafe()
        # With an endpoint, the chats have its key from the environment of the server.
        environment = {"MMTUI_API_KEY_ENV": PAGE_KEY, PAGE_KEY: key} if self._api else {}
        chat = ServedChat(
            self._starter, environment, websocket, self._slots, notice, self.download_manager
        )
        self._chats.add(chat)
        self._keys.add(key)
        if self._api is not None:
            self._api.model.load()
        try:
            await chat.start(_parse_size(request, "width", 80), _parse_size(request, "height", 24))
            await self._process_messages(websocket, chat)
        finally:
            self._keys.remove(key)
            await chat.stop()
            self._chats.remove(chat)
        return websocket

    async def handle_index(self, request: web.Request) -> web.Response:
        """Serve the page, which connects to the host in the browser's address bar."""
        has_tls = request.headers.get("X-Forwarded-Proto") == "https"  # set by a proxy
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
        page.text = add_script(page.text or "")
        return page

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse requests of other pages and without the token."""
        if request.path.startswith("/v1/"):
            try:
                self._check_host(request)
                request[CLIENT] = self._find_client(request)
            except web.HTTPForbidden as error:
                return ApiError(error.text or "forbidden", status=403).to_response()
            except ApiError as error:
                return error.to_response()
            return await handler(request)
        self._check_host(request)
        if self._token and request.path != HEALTH:
            if self._api is not None and self._has_key(request):  # a program, not a browser
                return ApiError("not found: the API is at /v1", status=404).to_response()
            self._check_cookie(request)
        return await handler(request)

    def _check_host(self, request: web.Request) -> None:
        """Refuse requests of other pages."""
        origin = request.headers.get("Origin")
        if origin is not None and _split(origin).netloc != request.host:
            raise web.HTTPForbidden(text="mmtui: other pages can't use this chat")
        # DNS rebinding: another site can let its host name point to this machine.
        if not self._token and not self._is_own_name(_split(f"//{request.host}").hostname or ""):
            raise web.HTTPForbidden(text="mmtui: this machine has another name")

    def _check_cookie(self, request: web.Request) -> None:
        """Refuse requests without the token, and redirect the one that has it in its address."""
        if self._is_token(request.query.get("token")):
            redirect = web.HTTPFound("/")  # moves the token from the address bar to a cookie
            redirect.set_cookie(self._cookie, self._token, httponly=True, samesite="Strict")
            raise redirect
        if not self._is_token(request.cookies.get(self._cookie)):
            raise web.HTTPForbidden(text="mmtui: open the address that `mmtui serve` printed")

    def _find_client(self, request: web.Request) -> str:
        """Return whose request of the API it is.

        Raises:
            ApiError: Its token is missing or wrong.
        """
        token = _get_bearer_token(request)
        for key in self._keys:
            if _is_equal(token, key):
                return key
        if self._token and not self._is_token(token):
            message = "the token of `mmtui serve` is required, as `Authorization: Bearer TOKEN`"
            raise ApiError(message, status=401, code="invalid_api_key")
        return request.remote or ""

    def _has_key(self, request: web.Request) -> bool:
        """Return whether a request has a valid key of the API."""
        try:
            self._find_client(request)
        except ApiError:
            return False
        return True

    def _is_token(self, value: str | None) -> bool:
        return value is not None and _is_equal(value, self._token)

    def _is_own_name(self, host: str) -> bool:
        """Return whether a host name is safe from DNS rebinding."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return host.rstrip(".").lower() in ("localhost", socket.gethostname().lower())
        return True


def serve(
    host: str,
    port: int,
    token: str | None,
    max_chats: int,
    config: Config,
    options: ChatOptions,
    make_starter: Callable[[ChatOptions], PageStarter],
) -> None:
    """Print the address and serve until Ctrl+C.

    Args:
        host: A name or an address of this machine.
        port: The port; 0 chooses a free one.
        token: The secret in the address; None generates one, "" serves without one.
        max_chats: How many chats can be open at once.
        config: The settings. If they name an endpoint, the chats use it, and there is no API.
        options: Options of each chat.
        make_starter: Returns what starts the chats with their options.

    Raises:
        UsageError: There is no such model, or no such address, or the token can't be sent.
        MmtuiError: The port can't be used.
    """
    _check_token(token or "")
    api = None
    if find_endpoint(config) is None:
        open_port = partial(
            ModelProcess,
            config.model,
            engine=config.engine,
            memory_bytes=config.server_cache * 1_000_000,
            speech=config.speech,
            read=config.reads,
            parallel=config.parallel,
        )
        api = Api(checkpoint.find(config.model), config, open_port)
    if token is None:
        token = secrets.token_urlsafe()
    with listen(host, port) as listening:
        address, port = listening.getsockname()[:2]
        is_any = address in ("0.0.0.0", "::")
        name = socket.gethostname() if is_any else host
        print(f"http://{_join(name, port)}/{f'?token={quote(token)}' if token else ''}", flush=True)
        if not token:
            print(f"warning: {_describe_risk(address)}", file=sys.stderr)
        if api is not None:
            where = f"http://{_join(name, port)}/v1"
            print(f"the API is at {where}, with the token as the key", file=sys.stderr)
            loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
            url = f"http://{_join(loopback, port)}/v1"
            options = ChatOptions(
                model="auto",
                endpoint=url,
                listen="whisper",
                language=config.language,
                read=False,
            )
        print("press Ctrl+C to stop", file=sys.stderr, flush=True)
        ChatServer(listening, token, max_chats, make_starter(options), api).run()


def _check_token(token: str) -> None:
    """Refuse a token that clients can't send in the header of a request."""
    if not (token.isascii() and token.isprintable()) or '"' in token or token != token.strip():
        message = "--token must consist of printable ASCII characters without double quotes"
        raise UsageError(message, "leave it out for a random token")


def _join(host: str, port: int) -> str:
    """Return a host and a port as they are in an address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _describe_risk(address: str) -> str:
    """Return what can happen when an address is served without a token."""
    is_local = ipaddress.ip_address(address).is_loopback
    who = "every user of this machine" if is_local else "everybody who can reach this machine"
    return f"without a token, {who} can chat as you, and read and write your files"


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address of this machine.

    Raises:
        UsageError: This machine does not have that address.
        MmtuiError: The port can't be used.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (socket.gaierror, UnicodeError):
        raise UsageError(f"there is no host {host!r}", "--host 127.0.0.1") from None
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            hint = "--host 0.0.0.0 listens at all its addresses"
            raise UsageError(f"this machine has no address {host}", hint) from None
        if error.errno == errno.EADDRINUSE:
            raise MmtuiError(f"port {port} is in use", "--port 0 chooses a free one") from None
        raise MmtuiError(f"port {port} can't be used: {error.strerror}", "--port 8000") from None


def _get_bearer_token(request: web.Request) -> str:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _is_equal(value: str, secret: str) -> bool:
    """Compare a value with a secret, in a time that does not depend on what they share."""
    return hmac.compare_digest(value.encode(errors="replace"), secret.encode())


def _split(url: str) -> SplitResult:
    """Return the parts of a URL; they are empty if it is invalid."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _parse_size(request: web.Request, name: str, default: int) -> int:
    """Return the width or height, in characters, that a page requests for its terminal."""
    value = request.query.get(name, "")
    return limit_size(int(value)) if value.isdecimal() and len(value) < 6 else default


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
