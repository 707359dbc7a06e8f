"""Speech of the API: texts that are read aloud."""

import io
import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlsplit

import av
import pytest
from api_server import TOKEN, ApiServer, serve_api
from fake_audio import FakeSynthesizer

from mmtui.chat.config import Config
from mmtui.errors import MissingError
from mmtui.pipeline.speech.synthesis import RATE, SynthesizerProcess
from mmtui.server import speech
from mmtui.server.speech import MEDIA_TYPES


class SlowSynthesizer(FakeSynthesizer):
    """Returns a second of silence for each sentence, once it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.started, self.allowed = threading.Semaphore(0), threading.Semaphore(0)

    def synthesize(self, sentence, voice, speed=1.0) -> bytes:
        super().synthesize(sentence, voice, speed)
        self.started.release()
        assert self.allowed.acquire(timeout=60)
        return bytes(2 * RATE)

    def close(self) -> None:
        super().close()
        self.allowed.release(1000)


@pytest.fixture
def synthesizer() -> FakeSynthesizer:
    return FakeSynthesizer()


@pytest.fixture
def server(synthesizer) -> Iterator[ApiServer]:
    config = Config(voice="emma", speaking_rate=1.5)
    with serve_api(config=config, synthesizer=synthesizer) as running:
        yield running


def send(server: ApiServer, **body: object) -> HTTPConnection:
    connection = HTTPConnection(urlsplit(server.root).netloc, timeout=60)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    connection.request("POST", "/v1/audio/speech", json.dumps(body), headers)
    return connection


def request(server: ApiServer, **body: object) -> tuple[HTTPResponse, bytes]:
    response = send(server, **body).getresponse()
    return response, response.read()


def test_markdown_is_read_as_in_the_chat(server, synthesizer):
    text = "# Cats\n\n**Cats** sleep. See [this](https://example.com).\n\n```\nx = 1\n```"
    response, samples = request(server, input=text, response_format="pcm")
    assert (response.status, response.getheader("Content-Type")) == (200, "audio/pcm")
    assert synthesizer.spoken == ["Cats.", "Cats sleep.", "See this.", "Code omitted."]
    assert samples == b"\0\1" * 4


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("emma", 1.5)),
        ({"voice": "alloy"}, ("emma", 1.5)),
        ({"voice": "kore", "speed": 0.25, "model": "smol"}, ("kore", 0.25)),
        ({"voice": "espeak:en-gb", "instructions": "Be kind."}, ("espeak:en-gb", 1.5)),
    ],
)
def test_the_voice_and_the_speed_are_those_of_the_request_or_of_the_settings(
    server, synthesizer, fields, expected
):
    assert request(server, input="Hello.", **fields)[0].status == 200
    assert synthesizer.voices == [expected]


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_speech_has_the_format_of_the_request(name):
    synthesizer = SlowSynthesizer()
    synthesizer.allowed.release(2)
    with serve_api(synthesizer=synthesizer) as server:
        response, sound = request(server, input="One. Two.", response_format=name)
    assert response.getheader("Content-Type") == MEDIA_TYPES[name]
    if name == "pcm":
        assert len(sound) == 2 * 2 * RATE
        return
    with av.open(io.BytesIO(sound)) as file:
        seconds = sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))
    assert seconds == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 400, "input: Field required"),
        ({"input": ""}, 400, "input: String should have at least 1 character"),
        ({"input": "x" * 4097}, 400, "input: String should have at most 4096 characters"),
        ({"input": "🙂"}, 400, "input: there is nothing to read aloud"),
        ({"input": "Hi.", "voice": "loud"}, 400, "voice: Value error, there is no voice 'loud'; "),
        ({"input": "Hi.", "voice": "espeak:\0"}, 400, "voice: "),
        ({"input": "Hi.", "response_format": "midi"}, 400, "response_format: Input should be"),
        ({"input": "Hi.", "speed": 5}, 400, "speed: "),
        ({"input": "Hi.", "stream_format": "sse"}, 400, "stream_format: Input should be 'audio'"),
        ({"input": "Hi.", "model": "tts-1"}, 404, "there is no model 'tts-1'"),
    ],
)
def test_an_invalid_request_is_refused(server, body, status, message):
    response, content = request(server, **body)
    error = json.loads(content)["error"]
    assert response.status == status and error["message"].startswith(message)
    assert error["type"] == "invalid_request_error"


def test_a_voice_that_is_missing_is_reported():
    synthesizer = FakeSynthesizer(MissingError("espeak-ng is not installed", "install it"))
    with serve_api(synthesizer=synthesizer) as server:
        response, content = request(server, input="Hallo Welt.")
    assert response.status == 501
    assert json.loads(content)["error"]["message"] == "espeak-ng is not installed; install it"


def test_a_codec_that_is_missing_is_reported(server, monkeypatch):
    monkeypatch.setattr(av, "codecs_available", {"pcm_s16le"})
    response, content = request(server, input="Hello.")
    assert response.status == 501 and "can't encode mp3" in json.loads(content)["error"]["message"]
    assert request(server, input="Hello.", response_format="wav")[0].status == 200


def test_requests_take_turns(monkeypatch):
    monkeypatch.setattr(speech, "MAX_REQUESTS", 2)
    synthesizer = SlowSynthesizer()
    with serve_api(synthesizer=synthesizer) as server:
        long = send(server, input="One. Two. Three. Four. Five. Six.", response_format="pcm")
        assert synthesizer.started.acquire(timeout=60)
        short = send(server, input="Hello.", response_format="pcm")
        while True:  # until the second request has arrived
            response, _ = request(server, input="Bye.")
            if response.status == 429:
                break
        assert response.getheader("Retry-After")
        synthesizer.allowed.release(10)
        assert len(short.getresponse().read()) == 2 * RATE
        assert len(long.getresponse().read()) == 6 * 2 * RATE
    assert synthesizer.spoken.index("Hello.") <= 2 and synthesizer.closed


def test_a_request_ends_when_its_client_goes():
    synthesizer = SlowSynthesizer()
    with serve_api(synthesizer=synthesizer) as server:
        connection = send(server, input="One. Two. Three. Four. " * 50)
        assert synthesizer.started.acquire(timeout=60)
        connection.close()
        synthesizer.allowed.release(1000)
        assert request(server, input="Hello.")[0].status == 200
    assert len(synthesizer.spoken) < 100


def test_the_process_of_the_voice_ends_with_the_server():
    synthesizer = SynthesizerProcess()
    with serve_api(synthesizer=synthesizer) as server:
        assert synthesizer._process is None
        response, sound = request(server, input="Hello.", response_format="wav")
        assert response.status == 200 and len(sound) > RATE
        assert synthesizer._process.poll() is None
    assert synthesizer._process.poll() is not None
