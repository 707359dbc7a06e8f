"""Every fault of a server, as `mmtui ask` reports it."""

import re

import pytest
from scripted_server import (
    ScriptedServer,
    Step,
    endless,
    hang,
    refuse,
    reset,
    send,
    send_raw,
    to_event,
    to_part,
)

BROKEN_CHARACTER = 'data: {"choices":[{"delta":{"content":"gr\xfc'.encode()[:-1]
FAULTS: dict[str, tuple[Step, int, str, str, str]] = {
    # name: step, exit code, stdout, error, hint
    "closed": (send(to_part("Part")), 1, "Part\n", "closed the connection", "try again"),
    "reset": (reset(to_part("Part")), 1, "Part\n", "closed the connection", "try again"),
    "mid-character": (
        send(to_part("Part"), BROKEN_CHARACTER), 1, "Part\n", "closed the connection", "try again",
    ),
    "stalled": (hang(to_part("Part")), 1, "Part\n", "sent nothing for 0.3 s", "endpoint_timeout"),
    "silent": (hang(), 1, "", "sent nothing for 0.3 s", "endpoint_timeout"),
    "only comments": (endless(b": ping\n\n"), 1, "", "sent nothing for 0.3 s", "endpoint_timeout"),
    "endless event": (endless(b"data: " + b"x" * 9999), 1, "", "not one of an OpenAI-comp", "/v1"),
    "rubbish": (send(b"data: {rubbish\n\n"), 1, "", "not one of an OpenAI-compatible API", "/v1"),
    "no HTTP": (send_raw(b"\0rubbish\r\n\r\n"), 1, "", "the response is not HTTP", "https://"),
    "endless header": (send_raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 99_999), 1, "", "not HTTP", "https://"),
    "broken chunk": (
        send_raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        1, "", "closed the connection", "try again",
    ),
    "JSON that is no completion": (
        send(b'{"status": "ok"}', content_type="application/json"),
        1, "", "not one of an OpenAI-compatible API", "/v1",
    ),
    "no object": (send(b"data: [1]\n\n"), 1, "", "not one of an OpenAI-compatible API", "/v1"),
    "binary": (send(bytes(range(256)) * 9), 1, "", "closed the connection", "try again"),
    "page": (
        send(b"<html>", content_type="text/html"), 1, "", "not one of .* but text/html", "/v1",
    ),
    "error in the stream": (
        send(to_part("Part"), to_event({"error": {"message": "out of\x1b[31m memory"}})),
        1, "Part\n", r"failed: out of\[31m memory", "log",
    ),
    "no key": (refuse(401, {"error": {"message": "who?"}}), 1, "", "requires a key: who", r"\$M"),
    "400": (
        refuse(400, {"error": {"message": "too long:\n\x1b]0;title\x07 9 tokens"}}),
        1, "", r"refuses the request \(HTTP 400\): too long: \]0;title 9 tokens$", "",
    ),
    "404 of a model that is there": (
        refuse(404, {"detail": "unloaded"}), 1, "", r"refuses .*\(HTTP 404\): unloaded", "",
    ),
    "413": (refuse(413, b"<html>big"), 1, "", "because it is too large$", "fewer pictures"),
    "429": (refuse(429, {"error": "later"}, Retry_After="3600"), 1, "", "busy: later", "3600 s"),
    "429 quota": (
        refuse(429, {"error": {"message": "pay", "code": "insufficient_quota"}}),
        1, "", "busy: pay", "later",
    ),
    "500": (refuse(500, b"stack trace"), 1, "", "failed with HTTP 500: stack trace", "log"),
    "redirect": (
        refuse(307, b"", Location="https://else.where/v1"),
        1, "", "redirects to https://else.where/v1", "--endpoint https://else.where/v1",
    ),
    "context": (
        refuse(400, {"object": "error", "message": "maximum context length is 4096"}),
        1, "", "maximum context length is 4096", "larger context",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_line_with_its_cure_and_the_partial_answer_stays(mmtui, name):
    step, code, out, error, hint = FAULTS[name]
    with ScriptedServer(step) as server:
        timeout = "0.3" if "0.3 s" in error else "60"
        environment = {"MMTUI_ENDPOINT_TIMEOUT": timeout, "MMTUI_ENDPOINT": server.url}
        run = mmtui("ask", "Hi", env=environment)
    assert (run.code, run.out) == (code, out), run.err
    lines = run.err.splitlines()
    assert re.search(f"^error: 127.0.0.1.*{error}|^error: http.*{error}", lines[0]), run.err
    assert len(lines) == (2 if hint else 1), run.err
    assert re.search(f"^hint: .*{hint}", lines[-1]) or not hint, run.err
