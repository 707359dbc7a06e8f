"""Pictures and recordings in requests: how clients encode them, and how they are decoded."""

import base64
import gzip
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import quote, urlsplit

import pytest
from api_server import TOKEN, ApiServer, serve_api
from documents import make_pdf
from PIL import Image

from mmtui.pipeline import input_files
from mmtui.pipeline.speech import sound


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serve_api() as running:
        yield running


def post(
    server: ApiServer, body: bytes, path: str = "/chat/completions", **headers: str
) -> tuple[int, dict]:
    connection = HTTPConnection(urlsplit(server.root).netloc, timeout=60)
    headers = {"Authorization": f"Bearer {TOKEN}", **headers}
    connection.request("POST", f"/v1{path}", body, headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def ask_about(*parts: dict[str, object]) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": parts}]}).encode()


def picture_part(url: str) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": url}}


def make_png(color: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), color).save(file, "PNG")
    return file.getvalue()


def test_data_uris_and_recordings_as_common_clients_write_them(server, clip_wav):
    picture = make_png("red")
    text = base64.b64encode(picture).decode()
    urls = [
        f"data:image/png;base64,{base64.encodebytes(picture).decode()}",
        f"data:image/png;charset=utf-8;base64,{text}",
        f"data:image/png;name=a.png;charset=utf-8;BASE64,{text}",
        f"data:image/png;base64,{quote(text, safe='')}",
    ]
    status, document = post(server, ask_about(*map(picture_part, urls)))
    assert status == 200, document
    assert server.model.pictures[-1] == [picture] * len(urls)
    recording = {"data": base64.encodebytes(clip_wav).decode(), "format": "wav"}
    status, document = post(server, ask_about({"type": "input_audio", "input_audio": recording}))
    assert status == 200, document
    assert server.model.asked[-1][-1].text == "16000 samples"


def test_attachments_are_decoded_one_after_another_and_pictures_once(server, clip_wav, monkeypatch):
    threads: list[int] = []

    def record(function):
        def call(*arguments):
            threads.append(threading.get_ident())
            return function(*arguments)

        return call

    monkeypatch.setattr(input_files, "decode_picture", record(input_files.decode_picture))
    monkeypatch.setattr(sound, "decode", record(sound.decode))
    pictures = [base64.b64encode(make_png(color)).decode() for color in ("red", "blue")] * 3
    recording = {"data": base64.b64encode(clip_wav).decode(), "format": "wav"}
    bodies = [
        ask_about(
            picture_part(f"data:image/png;base64,{picture}"),
            {"type": "input_audio", "input_audio": recording},
        )
        for picture in pictures
    ]
    with ThreadPoolExecutor(len(bodies)) as clients:
        statuses = [status for status, _ in clients.map(lambda body: post(server, body), bodies)]
    assert statuses == [200] * len(bodies)
    assert len(threads) == 2 + len(bodies) and len(set(threads)) == 1


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/chat/completions", "application/json"),
        ("/audio/transcriptions", "multipart/form-data; boundary=X"),
    ],
)
def test_a_body_that_cannot_be_decompressed_is_refused(server, path, content_type):
    headers = {"Content-Encoding": "gzip", "Content-Type": content_type}
    for body in (b"{}", gzip.compress(b"{}")[:10] + b"\xff" * 50):
        status, document = post(server, body, path, **headers)
        assert (status, document["error"]["type"]) == (400, "invalid_request_error")
        assert "Content-Encoding" in document["error"]["message"]


def file_part(data: bytes, kind: str = "application/pdf", **names: str) -> dict[str, object]:
    uri = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return {"type": "file", "file": {"file_data": uri, **names}}


def test_the_text_of_a_document_is_part_of_the_message(server):
    question = {"type": "text", "text": "When?"}
    pdf = file_part(make_pdf(["Total: 250", "Due on 3 May"]), filename="../a.pdf")
    status, _ = post(server, ask_about(pdf, file_part(b"# Notes", "text/markdown"), question))
    assert status == 200
    (turn,) = server.model.asked[-1]
    assert turn.text == (
        '<document name="a.pdf">\n[page 1]\nTotal: 250\n[page 2]\nDue on 3 May\n</document>\n'
        '<document name="document">\n# Notes\n</document>\nWhen?'
    )


def test_wrong_documents_are_errors(server):
    wrong = {"type": "file", "file": {"file_data": "https://example.org/a.pdf"}}
    for part, code in (
        (wrong, "invalid_file_data"),
        (file_part(b"%PDF-1.7 nonsense"), "invalid_file"),
        (file_part(bytes(range(256)) * 9, "text/plain"), "invalid_file"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "missing"),
    ):
        status, document = post(server, ask_about(part))
        assert (status, document["error"]["code"]) == (400, code)
