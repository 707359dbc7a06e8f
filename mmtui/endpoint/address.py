"""The address of a server, and the key that it asks for."""

import ipaddress
import os
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from mmtui.errors import UsageError

TIMEOUT_S = 300.0
_EXAMPLE = "as in --endpoint http://127.0.0.1:11434/v1"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible server.

    Attributes:
        scheme: "http" or "https".
        host: A name or an IP address, without the brackets of IPv6.
        port: The TCP port.
        path: The path of the API, such as "/v1".
        api_key: Sent as a bearer token, if it is not empty; never part of a message.
        api_key_env: The environment variable of the key, for messages.
        timeout_s: The longest time that the server may send nothing, in seconds.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int
    path: str
    api_key: str = field(default="", repr=False)
    api_key_env: str = ""
    timeout_s: float = TIMEOUT_S

    @property
    def location(self) -> str:
        """The host, with its port unless that is the default of the scheme."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address of the API."""
        return f"{self.scheme}://{self.location}{self.path}"

    @property
    def root(self) -> str:
        """The path above the API, where servers have interfaces of their own."""
        return self.path.removesuffix("/v1")

    @property
    def is_loopback(self) -> bool:
        """Whether the server runs on this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost" or self.host.endswith(".localhost")

    @property
    def note(self) -> str | None:
        """What the user should know about the connection, if anything."""
        if self.scheme == "https" or self.is_loopback:
            return None
        secrets = "the conversation and the key" if self.api_key else "the conversation"
        return f"http://{self.location} is not encrypted: others on the network can read {secrets}"

    def redact(self, text: str) -> str:
        """Return `text` without the key, which a server may quote in an error."""
        return text.replace(self.api_key, "***") if self.api_key else text


def parse_endpoint(address: str, api_key_env: str = "", timeout_s: float = TIMEOUT_S) -> Endpoint:
    """Parse the address of a server.

    An address without a scheme is plain HTTP, and one without a path ends in /v1.

    Args:
        address: Such as "http://127.0.0.1:8080/v1", or only "127.0.0.1:8080".
        api_key_env: The environment variable that contains the key, if one is needed.
        timeout_s: The longest time that the server may send nothing, in seconds.

    Raises:
        UsageError: This is not the address of a server, or the variable contains no valid key.
    """
    stripped = address.strip()
    try:
        parts = urlsplit(stripped if "://" in stripped else f"http://{stripped}")
        host, port = parts.hostname, parts.port
        if host is not None and ":" not in host:
            host = host.encode("idna").decode("ascii")
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https") or any(map(str.isspace, stripped)):
        raise UsageError("this is not the address of a server", _EXAMPLE)
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "the address of a server must not contain a password",
            f"set ${api_key_env} to the key" if api_key_env else None,
        )
    if parts.query or parts.fragment:
        raise UsageError("the address of a server ends with its path", _EXAMPLE)
    scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
    path = parts.path.rstrip("/").removesuffix("/chat/completions") or "/v1"
    key = _read_api_key(api_key_env)
    return Endpoint(scheme, host, port or _PORTS[scheme], path, key, api_key_env, timeout_s)


def _read_api_key(variable: str) -> str:
    """Return the key in an environment variable; "" if it is not set."""
    key = os.environ.get(variable, "").strip() if variable else ""
    if not (key.isascii() and key.isprintable()):  # http.client would quote it in its error
        raise UsageError(f"${variable} does not contain a valid key", "a key is printable ASCII")
    return key
