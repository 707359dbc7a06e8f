"""Servers behind a proxy that the environment names."""

import base64
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from scripted_server import ScriptedServer, reply

CERTIFICATE = Path(__file__).with_name("localhost.pem")


class Tunnel(BaseHTTPRequestHandler):
    """Connects each client to one server on this machine, whatever it asks for."""

    def do_CONNECT(self) -> None:
        self.server.targets.append((self.path, self.headers["Proxy-Authorization"]))
        if "refused" in self.path:
            self.send_error(403)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        with socket.create_connection(("127.0.0.1", self.server.port)) as server:
            back = threading.Thread(target=forward, args=(server, self.connection), daemon=True)
            back.start()
            forward(self.connection, server)
            back.join(10)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def forward(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)


@pytest.fixture
def tunnel() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Tunnel)
    server.targets = []
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_plain_http_goes_through_the_proxy(mmtui):
    with ScriptedServer(reply("Hi.")) as proxy:
        address = proxy.url.removesuffix("/v1").replace("http://", "http://me:p%40ss@")
        run = mmtui(
            "ask", "--endpoint", "http://gpu.invalid:8000/v1", "--model", "m", "Hello",
            env={"HTTP_PROXY": address, "http_proxy": address, "MMTUI_API_KEY": "k1"},
        )  # fmt: skip
    assert (run.code, run.out) == (0, "Hi.\n"), run.err
    [request] = proxy.requests
    assert request.path == "http://gpu.invalid:8000/v1/chat/completions"
    assert request.headers["Host"] == "gpu.invalid:8000"
    assert request.headers["Authorization"] == "Bearer k1"
    encoded = base64.b64encode(b"me:p@ss").decode()
    assert request.headers["Proxy-Authorization"] == f"Basic {encoded}"


def test_https_goes_through_a_tunnel_that_never_gets_the_key(mmtui, tunnel):
    with ScriptedServer(reply("Hi."), certificate=CERTIFICATE) as server:
        tunnel.port = int(server.url.split(":")[2].split("/")[0])
        environment = {
            "HTTPS_PROXY": f"http://127.0.0.1:{tunnel.server_port}",
            "SSL_CERT_FILE": str(CERTIFICATE),
            "MMTUI_API_KEY": "k1",
        }
        options = ["--model", "m", "Hello"]
        run = mmtui("ask", "--endpoint", "https://gpu.invalid", *options, env=environment)
        refused = mmtui("ask", "--endpoint", "https://refused.invalid", *options, env=environment)
    assert (run.code, run.out, run.err) == (0, "Hi.\n", "")
    assert server.completions[0].headers["Authorization"] == "Bearer k1"
    assert server.completions[0].headers["Host"] == "gpu.invalid"
    assert tunnel.targets[0] == ("gpu.invalid:443", None)
    assert refused.code == 3 and "the proxy 127.0.0.1 refuses with HTTP 403" in refused.err


@pytest.mark.parametrize(
    ("proxy", "code", "error"),
    [
        ("http://127.0.0.1:1", 3, "no connection to the proxy 127.0.0.1"),
        ("http://no-such-host.invalid:1", 3, "no connection to the proxy no-such-host.invalid"),
        ("socks5://127.0.0.1:1", 1, "a proxy of the kind socks5 is not supported"),
    ],
)
def test_a_proxy_that_does_not_work_is_named(mmtui, proxy, code, error):
    run = mmtui(
        "ask", "--endpoint", "https://gpu.invalid", "--model", "m", "Hi", env={"ALL_PROXY": proxy}
    )
    assert run.code == code and error in run.err and len(run.err.splitlines()) == 2


def test_this_machine_and_exceptions_are_reached_without_the_proxy(mmtui):
    with ScriptedServer(reply("Hi.")) as server:
        environment = {"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"}
        run = mmtui("ask", "--endpoint", server.url, "Hello", env=environment)
        environment["NO_PROXY"] = environment["no_proxy"] = ".invalid"
        direct = mmtui("ask", "--endpoint", "http://gpu.invalid", "Hello", env=environment)
    assert (run.code, run.out) == (0, "Hi.\n")
    assert direct.code == 3 and "no server of this name is known" in direct.err
