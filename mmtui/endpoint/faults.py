"""Errors of a server, each as one line with its cure."""

import http.client
import json
import re
import socket
import ssl
from typing import Literal

from mmtui.endpoint.address import Endpoint
from mmtui.endpoint.exchange import ConnectTimeoutError
from mmtui.errors import MissingError, MmtuiError
from mmtui.text import printable

MAX_QUOTE = 300  # characters of a server's own words
LARGE_BODY = 1_000_000
_NAMES_SHOWN = 10
# "exceeds the available context size" (llama-server), "maximum context length is" (vLLM, OpenAI).
_CONTEXT = re.compile(r"context (size|length|window)", re.IGNORECASE)


class UnsupportedInputError(MissingError):
    """The model does not accept an attachment."""


_CONTEXT_HINT = "ask for less, or start the server with a larger context"


class ContextError(MmtuiError):
    """The conversation is longer than the model's context."""


def explain_connection(
    endpoint: Endpoint, error: Exception, timeout_s: float, sent: int = 0
) -> MmtuiError:
    """Return the error for a connection that failed.

    Args:
        endpoint: The server.
        error: What the socket or the HTTP library raised.
        timeout_s: The longest time that the server was allowed to send nothing.
        sent: The size of the request, in bytes.
    """
    kind: type[MmtuiError] = MissingError  # of a server that can't be reached
    hint: str | None = "check the address and the network"
    match error:
        case ssl.SSLCertVerificationError():
            problem = f"the certificate is not trusted: {quote(error.verify_message)}"
            hint = "$SSL_CERT_FILE names a file with the certificate of its authority"
        case ssl.SSLError():
            problem = f"no encrypted connection: {quote(error.reason or str(error))}"
            hint = f"if the server speaks plain HTTP, use http://{endpoint.location}"
        case socket.gaierror():
            problem = "no server of this name is known"
        case ConnectionRefusedError():
            problem = "no server is running there"
            hint = "start the server, or check the port"
        case ConnectTimeoutError():
            problem = "the server does not respond"
        case TimeoutError():
            kind = MmtuiError
            problem = f"the server sent nothing for {timeout_s:g} s"
            hint = "try again; the log of the server may say why"
            if timeout_s == endpoint.timeout_s:
                hint = "try again; `endpoint_timeout` in the settings allows more"
        case http.client.IncompleteRead() | ConnectionError():
            kind = MmtuiError
            problem = "the server closed the connection"
            hint = "try again; the log of the server may say why"
            if sent > LARGE_BODY:
                hint = f"the request had {sent / 1e6:.0f} MB; try fewer pictures"
        case http.client.HTTPException():
            kind = MmtuiError
            problem = "the response is not HTTP"
            is_plain = endpoint.scheme == "http"
            hint = (
                f"if it expects encryption, use https://{endpoint.location}" if is_plain else None
            )
        case _:
            reason = error.strerror if isinstance(error, OSError) else None
            problem = f"the server can't be reached: {quote(reason or str(error))}"
    return kind(f"{endpoint.location}: {problem}", hint)


def explain_status(
    endpoint: Endpoint, status: int, body: bytes, location: str | None = None
) -> MmtuiError:
    """Return the error for a response that is not a success.

    Args:
        endpoint: The server.
        status: The HTTP status.
        body: The body of the response, or its beginning.
        location: Where a redirect leads.
    """
    kind: type[MmtuiError] = MmtuiError
    hint: str | None = None
    match status:
        case 401 | 403:
            problem = "refuses the key" if endpoint.api_key else "requires a key"
            hint = (
                f"set ${endpoint.api_key_env} to the key; `api_key_env` in the settings names"
                " another variable"
            )
        case 404 | 405:
            kind = MissingError
            problem = f"has no OpenAI-compatible API at {endpoint.path}"
            hint = "most servers have it at /v1"
        case 413:
            problem = "refuses the request because it is too large"
            hint = "send fewer pictures"
        case 429 | 503:
            problem, hint = "is busy", "try again later"
        case _ if 300 <= status < 400:
            problem = f"redirects to {quote(endpoint.redact(location or 'another address'))}"
            base = re.sub(r"/(models|chat/completions)/?$", "", location or "")
            hint = f"--endpoint {quote(endpoint.redact(base))}" if "://" in base else None
        case _ if status >= 500:
            problem = f"failed with HTTP {status}"
            hint = "the log of the server may say why"
        case _:
            return explain_refusal(endpoint, status, body)
    return kind(f"{endpoint.location} {problem}{_add_words(endpoint, body)}", hint)


def explain_refusal(endpoint: Endpoint, status: int, body: bytes) -> MmtuiError:
    """Return the error for a request that the server understands and refuses."""
    words = _add_words(endpoint, body)
    message = f"{endpoint.location} refuses the request (HTTP {status}){words}"
    return ContextError(message, _CONTEXT_HINT) if is_about_context(words) else MmtuiError(message)


def explain_long_context(endpoint: Endpoint, words: str) -> ContextError:
    """Return the error for a conversation that is found to be too long in a stream."""
    return ContextError(f"{endpoint.location} refuses the request: {words}", _CONTEXT_HINT)


def is_about_context(words: str) -> bool:
    """Return whether an error of a server is about the length of the conversation."""
    return _CONTEXT.search(words) is not None


def explain_busy(endpoint: Endpoint, body: bytes, pause_s: float = 0.0) -> MmtuiError:
    """Return the error for a server that stays busy; `pause_s` is how long it asks to wait."""
    hint = f"try again in {pause_s:.0f} s" if pause_s >= 1 else "try again later"
    return MmtuiError(f"{endpoint.location} is busy{_add_words(endpoint, body)}", hint)


def explain_missing_model(endpoint: Endpoint, model: str, names: list[str]) -> MissingError:
    """Return the error for a model that the server does not have."""
    return MissingError(f"{endpoint.location} has no model {quote(model)}", list_names(names))


def explain_garbage(endpoint: Endpoint, content_type: str = "") -> MmtuiError:
    """Return the error for a response that is not one of OpenAI's protocol."""
    kind = f" but {quote(content_type)}" if content_type else ""
    return MmtuiError(
        f"{endpoint.url}: the response is not one of an OpenAI-compatible API{kind}",
        "check the address; most servers have the API under /v1",
    )


def explain_unsupported(model: str, kind: Literal["pictures", "recordings"]) -> MissingError:
    """Return the error for attachments of a kind that a model does not accept."""
    hint = "choose a model that sees with --model or /model; `mmtui models` lists them"
    if kind == "recordings":
        hint = "--listen whisper transcribes them on this machine"
    return UnsupportedInputError(f"{quote(model)} does not accept {kind}", hint)


def list_names(names: list[str]) -> str:
    """Return the hint that lists the models of a server."""
    if not names:
        return "load a model there"
    shown = ", ".join(quote(name) for name in names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"choose one with --model or /model: {shown}{more}"


def _add_words(endpoint: Endpoint, body: bytes) -> str:
    """Return the end of an error message: the words of the server, without the key."""
    words = quote(endpoint.redact(_find_message(body)))
    return f": {words}" if words else ""


def _find_message(body: bytes) -> str:
    """Return the message in the body of an error; "" for a page of HTML."""
    text = body.decode("utf-8", "replace")
    try:
        return find_words(json.loads(text))
    except (ValueError, RecursionError):
        return "" if text.lstrip()[:1] == "<" else text


def find_words(document: object) -> str:
    """Return the message in an error document, in any of the forms that servers use."""
    for key in ("error", "message", "detail", "msg"):
        if isinstance(document, list):
            document = document[0] if document else None
        if isinstance(document, dict) and document.get(key):
            document = document[key]
    return document if isinstance(document, str) else ""


def quote(text: str) -> str:
    """Return words of a server as one short line without control characters."""
    line = re.sub(r"\s+", " ", printable(re.sub(r"[\r\n\t]", " ", text))).strip()
    return line if len(line) <= MAX_QUOTE else f"{line[: MAX_QUOTE - 1]}…"
