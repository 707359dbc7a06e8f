"""A server on the loopback interface that plays a script: replies, and every fault."""

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

Step = Callable[["Handler"], None]


@dataclass
class Received:
    """A request that the server received."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


class Handler(BaseHTTPRequestHandler):
    """Plays the next step of the script for a completion, and serves documents at other paths."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._receive()
        self._send_document()

    def do_POST(self) -> None:
        self._receive()
        if self.path.endswith("/chat/completions"):
            self.script.next_step()(self)
            self.close_connection = True
        else:
            self._send_document()

    @property
    def script(self) -> "ScriptedServer":
        return self.server.script  # type: ignore[attr-defined]

    def send_start(self, content_type: str = "text/event-stream", status: int = 200) -> None:
        """Send the status and the headers of a body whose end is that of the connection."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Connection", "close")
        self.end_headers()

    def _receive(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        received = Received(self.command, self.path, dict(self.headers), body)
        self.script.requests.append(received)

    def _send_document(self) -> None:
        document = self.script.documents.get(self.path)
        if callable(document):
            document(self)
            return
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(404 if document is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class ScriptedServer:
    """Plays steps, one for each completion; the last step is repeated.

    Attributes:
        requests: All requests so far.
        documents: The JSON documents at the other paths.
        released: Set when the server ends, and by `release`: steps that hang wait for it.
        hung_up: Set when a client closes the connection of a step that hangs.
    """

    def __init__(
        self, *steps: Step, models: Iterable[str] = ("tiny",), certificate: Path | None = None
    ) -> None:
        self.steps = list(steps)
        self.requests: list[Received] = []
        self.documents: dict[str, object] = {
            "/v1/models": {"object": "list", "data": [{"id": name} for name in models]}
        }
        self.released, self.hung_up = threading.Event(), threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.script = self  # type: ignore[attr-defined]
        self._scheme = "http" if certificate is None else "https"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def completions(self) -> list[Received]:
        """The requests for completions."""
        return [each for each in self.requests if each.path.endswith("/chat/completions")]

    def next_step(self) -> Step:
        return self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]


def to_event(document: object) -> bytes:
    """Return a document as an event of a stream."""
    return f"data: {json.dumps(document)}\n\n".encode()


def to_part(text: str = "", finish_reason: str | None = None, **delta: str) -> bytes:
    """Return a part of a streamed reply."""
    delta |= {"content": text} if text else {}
    return to_event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})


USAGE = to_event(
    {
        "choices": [],
        "usage": {
            "prompt_tokens": 12,
            "completion_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": 5},
        },
    }
)
DONE = b"data: [DONE]\n\n"


def reply(*texts: str, finish_reason: str = "stop") -> Step:
    """Stream a whole reply with its usage."""
    parts = [to_part(text) for text in texts]
    return send(
        to_part(role="assistant"), *parts, to_part(finish_reason=finish_reason), USAGE, DONE
    )


def send(*parts: bytes, content_type: str = "text/event-stream") -> Step:
    """Send parts of a body, and close the connection."""

    def step(handler: Handler) -> None:
        handler.send_start(content_type)
        for part in parts:
            handler.wfile.write(part)
            handler.wfile.flush()

    return step


def send_raw(data: bytes) -> Step:
    """Send bytes instead of a response, and close the connection."""

    def step(handler: Handler) -> None:
        handler.wfile.write(data)

    return step


def hang(*parts: bytes) -> Step:
    """Send the beginning of a stream, then nothing until the client hangs up."""

    def step(handler: Handler) -> None:
        handler.send_start()
        for part in parts:
            handler.wfile.write(part)
            handler.wfile.flush()
        handler.connection.settimeout(0.05)
        while not handler.script.released.is_set():
            try:
                if not handler.connection.recv(1):
                    handler.script.hung_up.set()
                    return
            except TimeoutError:
                continue
            except OSError:
                handler.script.hung_up.set()
                return

    return step


def reset(*parts: bytes) -> Step:
    """Send the beginning of a stream, and reset the connection."""

    def step(handler: Handler) -> None:
        send(*parts)(handler)
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.connection.close()

    return step


def endless(part: bytes) -> Step:
    """Send the same part until the client hangs up."""

    def step(handler: Handler) -> None:
        handler.send_start()
        try:
            while not handler.script.released.is_set():
                handler.wfile.write(part)
        except OSError:
            handler.script.hung_up.set()

    return step


def refuse(status: int, document: object = None, **headers: str) -> Step:
    """Answer with an error; "_" in the names of headers stands for "-"."""

    def step(handler: Handler) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return step
