"""Chat completions of the API: documents, streams, limits and errors."""

import base64
import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from api_server import TOKEN, ApiServer, serve_api

from mmtui.server import shared_model, uploads


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with serve_api() as running:
        yield running


def send(
    server: ApiServer,
    body: object = None,
    path: str = "/v1/chat/completions",
    token: str = TOKEN,
    method: str | None = None,
    **headers: str,
) -> http.client.HTTPResponse:
    """Send a request; its response is read by the test."""
    connection = http.client.HTTPConnection(urlsplit(server.root).netloc, timeout=60)
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", **headers}
    connection.request(method or ("GET" if data is None else "POST"), path, data, headers)
    return connection.getresponse()


OGG = {"data": "", "format": "ogg"}


def ask(text: object = "hi", **fields: object) -> dict[str, object]:
    return {"model": "smol", "messages": [{"role": "user", "content": text}], **fields}


def read_error(response: http.client.HTTPResponse) -> dict[str, Any]:
    document = json.loads(response.read())
    assert list(document) == ["error"]
    assert set(document["error"]) == {"message", "type", "param", "code"}
    return document["error"]


def read_stream(response: http.client.HTTPResponse) -> list[str]:
    return [line for line in response.read().decode().split("\n\n") if line]


def test_a_reply_in_one_document(server):
    response = send(server, ask())
    document = json.loads(response.read())
    assert (response.status, document["object"]) == (200, "chat.completion")
    assert document["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "You said: hi"},
            "finish_reason": "stop",
        }
    ]
    assert document["usage"] == {
        "prompt_tokens": 20,
        "completion_tokens": 3,
        "total_tokens": 23,
        "prompt_tokens_details": {"cached_tokens": 8},
    }
    assert response.headers["X-Queue-Place"] == "0"


def test_a_stream_ends_with_its_usage_if_that_is_requested(server):
    for options, count in (({"include_usage": True}, 1), (None, 0)):
        response = send(server, ask(stream=True, stream_options=options))
        assert response.headers["Content-Type"] == "text/event-stream"
        *events, end = [line for line in read_stream(response) if line.startswith("data: ")]
        assert end == "data: [DONE]"
        chunks = [json.loads(event[6:]) for event in events]
        assert len({chunk["id"] for chunk in chunks}) == 1
        deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
        assert deltas[0] == {"role": "assistant", "content": ""}
        assert "".join(delta.get("content", "") for delta in deltas) == "You said: hi"
        reasons = [choice.get("finish_reason") for c in chunks for choice in c["choices"]]
        assert reasons[-1] == "stop" and not any(reasons[:-1])
        assert [chunk["usage"]["total_tokens"] for chunk in chunks if "usage" in chunk] == (
            [23] * count
        )


def test_fields_of_the_request_reach_the_model(server):
    fields = {"max_tokens": 7, "temperature": 0.5, "top_p": 0.25, "seed": -1, "unknown": [1]}
    send(server, ask(**fields)).read()
    assert server.model.options[-1] == (7, 0.5, 0.25, 2**64 - 1)
    send(server, ask(max_completion_tokens=9, temperature=1, top_p=0)).read()
    assert server.model.options[-1] == (9, 0.0, 0.95, None)
    send(server, ask()).read()
    assert server.model.options[-1] == (512, 0.0, 0.95, None)  # the settings
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "one"}]},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "three"},
    ]
    send(server, {"messages": messages}).read()
    turns = [(turn.role, turn.text) for turn in server.model.asked[-1]]
    assert turns == [
        ("system", "Be brief."),
        ("user", "one\n\ntwo"),
        ("assistant", ""),
        ("user", "three"),
    ]


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        ("said", "You "),
        (["zzz", "d: h"], "You sai"),
        (["hi!"], "You said: hi"),
        ([], "You said: hi"),
    ],
)
def test_a_reply_ends_before_a_stop_text(server, stop, text):
    document = json.loads(send(server, ask(stop=stop)).read())
    assert document["choices"][0]["message"]["content"] == text
    assert document["choices"][0]["finish_reason"] == "stop"
    stream = send(server, ask(stop=stop, stream=True)).read().decode()
    chunks = [json.loads(line[6:]) for line in stream.split("\n\n") if line.startswith("data: {")]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == text


def test_pictures_and_recordings_are_sent_as_data(server, cat, clip_wav):
    picture = cat.read_bytes()
    url = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    recording = {"data": base64.b64encode(clip_wav).decode(), "format": "wav"}
    content = [
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
        {"type": "input_audio", "input_audio": recording},
        {"type": "text", "text": "?"},
    ]
    response = send(server, {"messages": [{"role": "user", "content": content}]})
    assert response.status == 200, response.read()
    response.read()
    assert server.model.pictures[-1] == [picture]
    assert server.model.asked[-1][-1].text == "16000 samples\n?"


def message_with(url: str) -> dict[str, object]:
    part = {"type": "image_url", "image_url": {"url": url}}
    return {"messages": [{"role": "user", "content": [part]}]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "object"),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "JSON"),
        ({}, "messages"),
        ({"messages": []}, "at least 1"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        (ask(max_tokens="7"), "max_tokens"),
        (ask(max_tokens=-1), "max_tokens"),
        (ask(temperature=-1), "temperature"),
        (ask(temperature=10.1), "temperature"),
        (ask(n=2), "n: "),
        (ask(stop=["a"] * 5), "stop"),
        (ask(stream="yes"), "stream"),
        (ask(response_format={"type": "xml"}), "response_format"),
        (ask(response_format={"type": "json_schema"}), "json_schema"),
        (ask(response_format={"type": "json_schema", "json_schema": {"schema": 1}}), "schema"),
        (message_with("http://127.0.0.1/secret.png"), "data URIs only"),
        (message_with("file:///etc/passwd"), "data URIs only"),
        (message_with("data:image/png;base64,%%%"), "Base64"),
        (message_with("data:image/png;base64,AAAA"), "not a picture"),
        (ask([{"type": "video"}]), "messages.0.content.0: Input tag 'video'"),
        (ask([{"type": "x" * 10_000}]), "xxx..."),
        (ask([{"type": "text"}]), "messages.0.content.0.text: Field required"),
        (ask([{"type": "image_url", "image_url": "x"}]), "content.0.image_url: Input should be an"),
        (ask([{"type": "input_audio", "input_audio": OGG}]), "0.input_audio.format: Input should"),
        (ask([{"type": "text", "text": "a"}, 3]), "messages.0.content.1: Input should be an obj"),
        (ask(3), "messages.0.content: Input should be a valid string"),
        (ask(stop=["a"] * 100), "stop: List should have at most 4 items"),
        (ask(stop=[3]), "stop.0: Input should be a valid string"),
    ],
)
def test_an_invalid_request_is_refused_in_the_form_of_openai(server, body, words):
    count = len(server.model.asked)
    response = send(server, body)
    error = read_error(response)
    assert (response.status, error["type"]) == (400, "invalid_request_error")
    assert words in error["message"] and len(error["message"]) < 500
    assert len(server.model.asked) == count


def test_paths_methods_models_and_tokens_that_do_not_exist(server):
    for path in ("/v1/nothing", "/v1/models/gpt-4"):
        response = send(server, path=path)
        assert response.status == 404 and read_error(response)["message"]
    response = send(server, path="/v1/models", method="DELETE")
    assert response.status == 405 and "GET" in response.headers["Allow"]
    read_error(response)
    for path in ("/v1", "/v2/models", "/"):
        response = send(server, path=path)
        assert response.status == 404 and "/v1" in read_error(response)["message"]
        assert send(server, path=path, token="wrong").status == 403
    for model in ("gpt-4", "x" * 100_000):
        response = send(server, ask(model=model))
        error = read_error(response)
        assert response.status == 404 and error["code"] == "model_not_found"
        assert f"'{model[:4]}" in error["message"] and len(error["message"]) < 200
    for token in ("", "wrong", f"{TOKEN} "[:-2]):
        response = send(server, ask(), token=token)
        assert response.status == 401 and read_error(response)["code"] == "invalid_api_key"
    response = send(server, ask(), Origin="https://evil.org")
    assert response.status == 403 and "other pages" in read_error(response)["message"]


def test_the_model_is_listed(server):
    send(server, ask()).read()
    [entry] = json.loads(send(server, path="/v1/models").read())["data"]
    assert entry["id"] == "smol" and entry["context_length"] == 8192
    assert entry["capabilities"] == {"vision": True, "transcription": True}
    assert json.loads(send(server, path="/v1/models/smol").read()) == entry
    health = json.loads(send(server, path="/health", token="").read())
    assert health == {"status": "ok", "waiting": 0}


def test_failures_of_the_model(server):
    for text, status, code in (
        ("fail", 500, None),
        ("die", 500, None),
        ("long", 400, "context_length_exceeded"),
        ("bad schema", 400, "unsupported_response_format"),
    ):
        for stream in (False, True):
            response = send(server, ask(text, stream=stream))
            if response.status == 200:  # the model was being loaded again, which was reported
                [line] = [each for each in read_stream(response) if each.startswith("data: ")]
                error = json.loads(line[6:])["error"]
            else:
                assert response.status == status
                error = read_error(response)
            assert error["code"] == code
    assert json.loads(send(server, ask()).read())["choices"]


def test_the_form_of_a_reply_is_passed_on(server):
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    for form, expected in (
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "cat", "schema": schema}}, schema),
    ):
        send(server, ask(response_format=form)).read()
        text = server.model.schemas[-1]
        assert (text and json.loads(text)) == expected


def test_a_body_above_the_limit_is_refused(server, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_BODY_BYTES", 1000)
    response = send(server, ask("x" * 2000))
    assert response.status == 413 and read_error(response)["code"] == "request_too_large"


def test_a_client_that_hangs_up_cancels_its_reply(server):
    for stream in (True, False):
        connection = http.client.HTTPConnection(urlsplit(server.root).netloc, timeout=60)
        body = json.dumps(ask("hold", stream=stream))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        connection.request("POST", "/v1/chat/completions", body, headers)
        if stream:
            response = connection.getresponse()
            assert b"assistant" in response.read1()
            response.close()
        assert server.model.started.acquire(timeout=60)
        connection.close()
        assert server.model.stopped.acquire(timeout=60)
    assert json.loads(send(server, ask()).read())["choices"]


def test_requests_wait_in_a_queue_that_has_a_limit(monkeypatch):
    monkeypatch.setattr(shared_model, "MAX_WAITING", 2)
    with serve_api() as server:
        holding = send_in_thread(server, ask("hold", stream=True))
        assert server.model.started.acquire(timeout=60)
        waiting = [send(server, ask(f"{n}", stream=True)) for n in range(2)]
        assert [each.headers["X-Queue-Place"] for each in waiting] == ["1", "2"]
        response = send(server, ask())
        assert response.status == 429 and int(response.headers["Retry-After"]) > 0
        assert read_error(response)["code"] == "queue_full"
        server.model.released.set()
        holding.join()
        texts = [read_stream(each) for each in waiting]
        assert [text[0] for text in texts] == [": queue 1", ": queue 2"]
        assert texts[1][1:3] == [": queue 1", ": queue 0"]
        assert all(text[-1] == "data: [DONE]" for text in texts)
        assert server.model.most_running == 1


def send_in_thread(server: ApiServer, body: object) -> threading.Thread:
    thread = threading.Thread(target=lambda: send(server, body).read())
    thread.start()
    return thread
