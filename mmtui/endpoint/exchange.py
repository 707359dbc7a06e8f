"""One HTTP request, which another thread or a signal handler can end at any time.

`http.client` starts in a quarter of the time of httpx. The socket is made here, so that it can be
shut down while a thread waits for it.
"""

import http.client
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from mmtui.endpoint.address import Endpoint
from mmtui.endpoint.proxy import ProxyError, find_proxy

CONNECT_TIMEOUT_S = 10.0
_CHUNK = 65536
_AddressInfo = tuple[int, int, int, str, Any]  # as `socket.getaddrinfo` returns it
_POLL_S = 0.05


class CancelledError(Exception):
    """The request was cancelled."""


class ConnectTimeoutError(TimeoutError):
    """The connection could not be established in time."""


@dataclass(frozen=True)
class Form:
    """The body of a request that is not JSON."""

    content_type: str
    content: bytes


class Cancellation:
    """Ends a request from another thread, or from a signal handler: there are no locks."""

    def __init__(self) -> None:
        self.is_cancelled = False
        self._socket: socket.socket | None = None

    def cancel(self) -> None:
        """Close the connection, which wakes the thread that waits for it."""
        self.is_cancelled = True
        if (connected := self._socket) is not None:
            with suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)  # also below TLS

    def watch(self, connected: socket.socket) -> None:
        """Set the socket to shut down."""
        self._socket = connected
        self.check()

    def check(self) -> None:
        """Raise CancelledError if the request was cancelled."""
        if self.is_cancelled:
            raise CancelledError

    def sleep(self, seconds: float) -> None:
        """Sleep, and raise CancelledError as soon as the request is cancelled."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, _POLL_S))
        self.check()


class Exchange:
    """An HTTP request and its response, on a connection of its own.

    Methods raise CancelledError after a cancellation, OSError, or http.client.HTTPException.
    """

    def __init__(self, endpoint: Endpoint, cancellation: Cancellation, timeout_s: float) -> None:
        """Prepare a request without connecting.

        Args:
            endpoint: The server.
            cancellation: Ends the request.
            timeout_s: The longest time that the server may send nothing, in seconds.
        """
        self._endpoint, self._cancellation, self._timeout_s = endpoint, cancellation, timeout_s
        self._proxy = find_proxy(endpoint)
        peer = self._proxy or endpoint
        self._connection = http.client.HTTPConnection(peer.host, peer.port)
        self._response: http.client.HTTPResponse | None = None
        self._socket: socket.socket | None = None

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "application/json",
    ) -> http.client.HTTPResponse:
        """Send the request and return the response, whose body is not read yet."""
        headers = {
            "Host": self._endpoint.location,
            "Accept": "text/event-stream, application/json",
            "User-Agent": "mmtui",
        }
        if body is not None:
            headers["Content-Type"] = content_type
        if self._endpoint.api_key:
            headers["Authorization"] = f"Bearer {self._endpoint.api_key}"
        if self._proxy is not None and self._endpoint.scheme == "http":
            headers |= self._proxy.headers
            path = f"http://{self._endpoint.location}{path}"
        try:
            self._connection.sock = self._socket = self._connect()
            self._request(method, path, body, headers)
            self._response = self._connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._fail(error)
        self._cancellation.check()
        return self._response

    def read(self) -> bytes:
        """Return the next part of the body as soon as there is one; b"" at its end."""
        assert self._response is not None
        try:
            part = self._response.read1(_CHUNK)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._fail(error)
        self._cancellation.check()
        return part

    def set_timeout(self, seconds: float) -> None:
        """Change the longest time that the server may send nothing."""
        if self._socket is not None:
            self._socket.settimeout(seconds)

    def close(self) -> None:
        """Close the connection."""
        if self._response is not None:
            self._response.close()
        self._connection.close()

    def _request(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> None:
        try:
            self._connection.request(method, path, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses a large body answers and closes before it has read all.
            if body is None:
                raise

    def _connect(self) -> socket.socket:
        try:
            return self._open_socket()
        except (ssl.SSLError, ProxyError):
            raise
        except OSError as error:
            if self._proxy is None:
                raise
            raise ProxyError(f"no connection to the proxy {self._proxy.host}") from error

    def _open_socket(self) -> socket.socket:
        endpoint = self._endpoint
        failure: OSError | None = None
        peer = self._connection.host, self._connection.port
        for family, kind, protocol, _, address in self._resolve(*peer):
            connected = socket.socket(family, kind, protocol)
            try:
                self._cancellation.watch(connected)
                connected.settimeout(CONNECT_TIMEOUT_S)
                connected.connect(address)
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if endpoint.scheme == "https":
                    if self._proxy is not None:
                        self._proxy.open_tunnel(connected, endpoint)
                    secured = ssl.create_default_context().wrap_socket(
                        connected, server_hostname=endpoint.host, do_handshake_on_connect=False
                    )
                    connected = secured
                    self._cancellation.watch(secured)
                    secured.do_handshake()
                connected.settimeout(self._timeout_s)
                return connected
            except (ssl.SSLError, CancelledError):
                connected.close()
                raise
            except TimeoutError as error:
                connected.close()
                failure = ConnectTimeoutError(str(error))
            except OSError as error:
                connected.close()
                failure = error
            self._cancellation.check()
        raise failure or socket.gaierror(socket.EAI_NONAME, "no address")

    def _resolve(self, host: str, port: int) -> list[_AddressInfo]:
        """Look up the addresses of a host in a thread: a lookup can't be interrupted."""
        found: list[_AddressInfo] = []
        failures: list[OSError] = []

        def look_up() -> None:
            try:
                found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            except OSError as error:
                failures.append(error)

        thread = threading.Thread(target=look_up, daemon=True)
        thread.start()
        end = time.monotonic() + CONNECT_TIMEOUT_S
        while thread.is_alive():
            self._cancellation.check()
            if time.monotonic() > end:
                raise socket.gaierror(socket.EAI_AGAIN, "the lookup timed out")
            thread.join(_POLL_S)
        if failures:
            raise failures[0]
        return found

    def _fail(self, error: Exception) -> NoReturn:
        """Raise the error, or CancelledError if the cancellation caused it."""
        self._cancellation.check()
        if not isinstance(error, OSError | http.client.HTTPException):  # of a malformed response
            raise http.client.HTTPException(str(error)) from error
        raise error
