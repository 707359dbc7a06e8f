"""Transcriptions of the API, which are forms with a recording."""

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from api_server import TOKEN, ApiServer, serve_api

from mmtui.server import uploads


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with serve_api() as running:
        yield running


def encode_form(**fields: str | bytes) -> bytes:
    parts = []
    for name, value in fields.items():
        content = value.encode() if isinstance(value, str) else value
        file = '; filename="a.wav"' if name == "file" else ""
        head = f'--X\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join([*parts, b"--X--\r\n"])


def send(
    server: ApiServer, body: bytes, content_type: str = "multipart/form-data; boundary=X"
) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(server.root).netloc, timeout=60)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": content_type}
    connection.request("POST", "/v1/audio/transcriptions", body, headers)
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_a_recording_is_transcribed(server, clip_wav):
    form = encode_form(file=clip_wav, model="smol", language="en")
    status, text = send(server, form)
    assert status == 200, text
    assert json.loads(text) == {"text": "16000 samples"}
    form = encode_form(file=clip_wav, response_format="text")
    assert send(server, form) == (200, "16000 samples\n")


def test_the_language_may_be_a_name_and_is_reported(server, clip_wav):
    status, text = send(server, encode_form(file=clip_wav, language="German"))
    assert (status, json.loads(text)) == (200, {"text": "16000 samples", "language": "de"})
    status, text = send(server, encode_form(file=clip_wav, language="auto"))
    assert (status, json.loads(text)) == (200, {"text": "16000 samples"})


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (b"{}", "application/json", "multipart/form-data"),
        (b"rubbish", "multipart/form-data", "malformed"),
        (b"rubbish", "multipart/form-data; boundary=X", "malformed"),
        (encode_form(model="smol"), "multipart/form-data; boundary=X", "file: "),
        (encode_form(file=b"text"), "multipart/form-data; boundary=X", "not a recording"),
        (
            encode_form(file=b"", response_format="srt"),
            "multipart/form-data; boundary=X",
            "response_format",
        ),
        (
            encode_form(file=b"", language="klingon"),
            "multipart/form-data; boundary=X",
            "language: Value error, Whisper knows no language 'klingon'",
        ),
    ],
)
def test_an_invalid_form_is_refused(server, body, content_type, words):
    status, text = send(server, body, content_type)
    assert status == 400 and words in json.loads(text)["error"]["message"]


def test_a_large_recording_is_refused(server, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_BODY_BYTES", 1000)
    status, text = send(server, encode_form(file=b"x" * 2000))
    assert status == 413 and "limit" in json.loads(text)["error"]["message"]
