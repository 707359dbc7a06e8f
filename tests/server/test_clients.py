"""OpenAI's own client against the API, and the commands of the documentation."""

import base64
import io
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import TOKEN, ApiServer, serve_api
from fake_audio import FakeSynthesizer

DOCS = Path(__file__).parents[2] / "docs" / "servers.md"


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with serve_api(synthesizer=FakeSynthesizer()) as running:
        yield running


@pytest.fixture(scope="module")
def openai():
    return pytest.importorskip("openai")


@pytest.fixture
def client(openai, server):
    with openai.OpenAI(base_url=server.url, api_key=TOKEN, max_retries=0) as client:
        yield client


def test_the_official_client_lists_models_and_reads_replies(client):
    assert [model.id for model in client.models.list()] == ["smol"]
    messages = [{"role": "user", "content": "hi"}]
    completion = client.chat.completions.create(model="smol", messages=messages, seed=1)
    assert completion.choices[0].message.content == "You said: hi"
    assert completion.usage.total_tokens == 23
    stream = client.chat.completions.create(
        model="smol", messages=messages, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "You said: hi" and chunks[-1].usage.completion_tokens == 3


def test_the_official_client_sends_pictures_and_recordings(client, server, cat, clip_wav):
    url = f"data:image/png;base64,{base64.b64encode(cat.read_bytes()).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "?"}]
    client.chat.completions.create(model="smol", messages=[{"role": "user", "content": content}])
    assert server.model.pictures[-1] == [cat.read_bytes()]
    file = ("clip.wav", io.BytesIO(clip_wav))
    assert client.audio.transcriptions.create(model="smol", file=file).text == "16000 samples"


def test_the_official_client_saves_speech(client, tmp_path):
    with client.audio.speech.with_streaming_response.create(
        model="smol", voice="alloy", input="Hello.", response_format="wav"
    ) as response:
        response.stream_to_file(tmp_path / "hello.wav")
    assert (tmp_path / "hello.wav").read_bytes()[:4] == b"RIFF"


def test_the_official_client_knows_the_errors(openai, client, server):
    def ask(text: str, **fields: object) -> None:
        messages = [{"role": "user", "content": text}]
        client.chat.completions.create(**{"model": "smol", "messages": messages, **fields})

    with pytest.raises(openai.NotFoundError, match="smol"):
        ask("hi", model="gpt-4")
    with pytest.raises(openai.BadRequestError) as caught:
        ask("long")
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.InternalServerError, match="the weights are gone"):
        ask("fail")
    stranger = openai.OpenAI(base_url=server.url, api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()


def test_closing_a_stream_of_the_official_client_cancels_it(client, server):
    messages = [{"role": "user", "content": "hold"}]
    stream = client.chat.completions.create(model="smol", messages=messages, stream=True)
    next(stream)
    assert server.model.started.acquire(timeout=60)
    stream.close()
    assert server.model.stopped.acquire(timeout=60)


def read_commands() -> list[str]:
    """Return the curl commands of the documentation of `mmtui serve`."""
    section = DOCS.read_text().split("## mmtui as a server")[1]
    blocks = section.split("```console\n")[1:]
    lines = "\n".join(block.split("```")[0] for block in blocks).replace("\\\n", " ")
    return [line[2:] for line in lines.splitlines() if line.startswith("$ curl")]


def test_the_curl_commands_of_the_documentation(server, tmp_path, clip_wav):
    commands = read_commands()
    assert len(commands) >= 4
    (tmp_path / "clip.wav").write_bytes(clip_wav)
    for command in commands:
        run = subprocess.run(
            ["bash", "-c", command.replace("http://127.0.0.1:8000", server.root)],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "TOKEN": TOKEN},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert run.returncode == 0, (command, run.stderr)
        written = tmp_path / "hello.mp3" if "hello.mp3" in command else None
        output = str(written.stat().st_size) if written else run.stdout
        assert output and '"error"' not in output, (command, run.stdout)
