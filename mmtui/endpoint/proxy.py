"""The proxies that the environment names, such as $HTTPS_PROXY and $NO_PROXY."""

import base64
import http.client
import socket
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from mmtui.endpoint.address import Endpoint
from mmtui.errors import MmtuiError

_PORT = 80


class ProxyError(OSError):
    """The proxy does not open a connection to the server."""


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy.

    Attributes:
        host: A name or an IP address.
        port: The TCP port.
        authorization: The value of the header `Proxy-Authorization`, if the proxy requires one.
    """

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """The headers for the proxy."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}

    def open_tunnel(self, connected: socket.socket, endpoint: Endpoint) -> None:
        """Have the proxy at the other end of a socket connect it to a server.

        Raises:
            ProxyError: The proxy refuses.
        """
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        target = f"{host}:{endpoint.port}"
        headers = {"Host": target} | self.headers
        lines = [f"CONNECT {target} HTTP/1.1", *(f"{key}: {headers[key]}" for key in headers)]
        connected.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        response = http.client.HTTPResponse(connected, method="CONNECT")
        try:
            response.begin()
            if response.status != 200:
                raise ProxyError(f"the proxy {self.host} refuses with HTTP {response.status}")
        finally:
            response.close()


def find_proxy(endpoint: Endpoint) -> Proxy | None:
    """Return the proxy for a server; None for a direct connection, as always on this machine.

    Raises:
        MmtuiError: The proxy is not an HTTP proxy.
    """
    if endpoint.is_loopback:
        return None
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    address = proxies.get(endpoint.scheme) or proxies.get("all")
    if not address or proxy_bypass(endpoint.host):
        return None
    parts = urlsplit(address if "://" in address else f"http://{address}")
    if parts.hostname is None or parts.scheme != "http":
        raise MmtuiError(
            f"a proxy of the kind {parts.scheme} is not supported",
            f"add {endpoint.host} to $NO_PROXY, or use an HTTP proxy",
        )
    authorization = ""
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(credentials.encode()).decode('ascii')}"
    return Proxy(parts.hostname, parts.port or _PORT, authorization)
