"""Requests as evaluation tools and chat interfaces send them, with fields that are not known."""

import base64
import io
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer, serve_api
from PIL import Image

TOKEN = "sk-mmtui"  # VLMEvalKit requires this beginning
QUESTION = "Is there a cat? Answer yes or no."


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with serve_api(token=TOKEN) as running:
        yield running


def encode(file: Path, kind: str) -> str:
    """Return a picture as a data URI."""
    stream = io.BytesIO()
    Image.open(file).save(stream, kind)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def make_lmms_eval(file: Path) -> dict[str, Any]:
    """Return a request of lmms-eval's model `openai`, which puts pictures behind the text."""
    picture = {"type": "image_url", "image_url": {"url": encode(file, "png")}}
    content = [{"type": "text", "text": QUESTION}, picture]
    return {
        "model": "smol",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 16,
        "temperature": 0,
    }


def make_lmms_eval_thinking(file: Path) -> dict[str, Any]:
    """Return a request of lmms-eval to a model that it takes for one that thinks."""
    body = make_lmms_eval(file)
    del body["temperature"], body["max_tokens"]
    more = {"reasoning_effort": "medium", "response_format": {"type": "text"}}
    return {**body, **more, "max_completion_tokens": 16}


def make_vlmevalkit(file: Path) -> dict[str, Any]:
    """Return a request of VLMEvalKit's class `GPT4V`, with the settings of its API models."""
    picture = {"type": "image_url", "image_url": {"url": encode(file, "jpeg"), "detail": "low"}}
    return {
        "model": "smol",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [picture, {"type": "text", "text": QUESTION}]},
        ],
        "n": 1,
        "temperature": 0,
        "top_p": 0.001,
        "max_tokens": 16,
        "repetition_penalty": 1.0,
    }


def make_open_webui(file: Path) -> dict[str, Any]:
    """Return a request of Open WebUI, which sends fields without a value, too."""
    picture = {"type": "image_url", "image_url": {"url": encode(file, "png")}}
    fields = ("top_p", "seed", "stop", "response_format", "n", "stream_options", "logit_bias")
    return {
        "model": "smol",
        "messages": [{"role": "user", "content": [{"type": "text", "text": QUESTION}, picture]}],
        "max_tokens": 16,
        "temperature": 0.0,
        "frequency_penalty": 0,
        "user": {"name": "me", "id": "1"},
        "metadata": {"chat_id": "1"},
        "logprobs": False,
        **dict.fromkeys(fields),
    }


@pytest.mark.parametrize(
    "make", [make_lmms_eval, make_lmms_eval_thinking, make_vlmevalkit, make_open_webui]
)
def test_a_request_of_another_program_is_answered(server, cat, make):
    request = urllib.request.Request(
        f"{server.url}/chat/completions",
        json.dumps(make(cat)).encode(),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        document = json.load(response)
    assert document["choices"][0]["message"]["content"] == f"You said: {QUESTION}"
    assert document["usage"]["completion_tokens"] == 3
    max_tokens, temperature, _, _ = server.model.options[-1]
    assert (max_tokens, temperature) == (16, 0.0)
    [picture] = server.model.pictures[-1]
    with Image.open(io.BytesIO(picture)) as sent, Image.open(cat) as original:
        assert sent.size == original.size
