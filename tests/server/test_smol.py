"""`mmtui serve` with the real model."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from urllib.parse import urlsplit

import psutil
import pytest
from api_server import TOKEN

from mmtui.chat.endpoint_model import EndpointModel
from mmtui.chat.protocol import ChatTurn, Completed, Event, Failed, Prepared
from mmtui.endpoint.address import parse_endpoint


@pytest.fixture(scope="module")
def serving(smol, tmp_path_factory) -> Iterator[tuple[str, psutil.Process]]:
    """Serve smol; return the address of the API and the process."""
    home = str(tmp_path_factory.mktemp("home"))
    options = ["--model", "smol", "--token", TOKEN]
    process = subprocess.Popen(
        [Path(sys.executable).with_name("mmtui"), "serve", "--port", "0", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home},
    )
    assert process.stdout
    address = urlsplit(process.stdout.readline().decode().strip())
    yield f"http://{address.netloc}/v1", psutil.Process(process.pid)
    process.terminate()
    process.wait(30)


@pytest.fixture
def environment(serving, tmp_path) -> dict[str, str]:
    """The environment of a program that uses the server, and has no weights itself."""
    return {
        "MMTUI_ENDPOINT": serving[0],
        "MMTUI_API_KEY": TOKEN,
        "XDG_CACHE_HOME": str(tmp_path / "empty"),
    }


def test_a_question_about_a_picture_has_the_same_answer_as_here(mmtui, environment, cat):
    question = ("ask", "--max-tokens", 16, "--image", cat, "What is in the picture?")
    here = mmtui(*question, "--model", "smol")
    there = mmtui(*question, env=environment)
    assert (there.code, there.out) == (0, here.out), there.err


def test_the_chat_continues_a_reply_of_the_server(mmtui, environment, tmp_path):
    (tmp_path / "mmtui").mkdir()
    (tmp_path / "mmtui" / "config.toml").write_text("max_tokens = 6\n")
    home = {"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    question = "Count from one to ten."
    run = mmtui("--plain", stdin=f"{question}\n/continue\n".encode(), env=environment | home)
    assert run.code == 0, run.err
    first = run.out.split("\n")[0]
    whole = mmtui("ask", "--max-tokens", 12, question, env=environment).out
    assert first and whole.startswith(first)


def test_what_is_spoken_is_transcribed_back(serving):
    client = pytest.importorskip("openai").OpenAI(base_url=serving[0], api_key=TOKEN)
    sound = client.audio.speech.create(
        model="smol", voice="heart", input="The **cat** sleeps on the red sofa.", speed=0.9
    ).read()
    file = ("speech.mp3", sound)
    text = client.audio.transcriptions.create(model="smol", file=file, language="en").text
    assert "the cat sleeps on the red sofa" in text.lower()


def test_conversations_that_alternate_read_only_what_is_new(serving):
    client = pytest.importorskip("openai").OpenAI(base_url=serving[0], api_key=TOKEN)
    conversations = [
        [{"role": "user", "content": f"{animal} eat and sleep. " * 200}]
        for animal in ("Cats", "Cows")
    ]
    for question in range(3):
        for messages in conversations:
            reply = client.chat.completions.create(
                model="smol", messages=messages, max_tokens=8, temperature=0
            )
            read = reply.usage.prompt_tokens - reply.usage.prompt_tokens_details.cached_tokens
            assert reply.usage.prompt_tokens > 1000
            assert read < 40 if question else read > 900
            messages.append({"role": "assistant", "content": reply.choices[0].message.content})
            messages.append({"role": "user", "content": "And then?"})


@pytest.mark.parametrize("has_picture", [False, True])
def test_of_a_conversation_that_was_read_ahead_only_the_question_is_read(
    serving, monkeypatch, cat, has_picture
):
    monkeypatch.setenv("SERVED_KEY", TOKEN)
    story = ("Horses" if has_picture else "Geese") + " eat and sleep. " * 100
    history = [ChatTurn("user", story), ChatTurn("assistant", "I see.")]
    pictures = (str(cat),) if has_picture else ()
    events: SimpleQueue[Event] = SimpleQueue()
    model = EndpointModel(parse_endpoint(serving[0], "SERVED_KEY"), "auto", events.put)
    try:
        model.prepare(history, pictures, 8, "id", 0)
        while not isinstance(events.get(timeout=300), Prepared):
            pass
        model.generate([*history, ChatTurn("user", "And then?", pictures)], 8)
        while not isinstance(event := events.get(timeout=300), Completed):
            assert not isinstance(event, Failed), event
    finally:
        model.close()
    assert event.prompt_tokens > 400 and event.prompt_tokens - event.cached_tokens < 40


def test_replies_are_json_also_if_they_are_cut_off(serving):
    client = pytest.importorskip("openai").OpenAI(base_url=serving[0], api_key=TOKEN)
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    messages = [{"role": "user", "content": "Describe a cat in JSON."}]
    for form in (
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "cat", "schema": schema}},
    ):
        for max_tokens in (7, 60):
            ask = partial(
                client.chat.completions.create,
                model="smol",
                messages=messages,
                max_tokens=max_tokens,
                response_format=form,
            )
            choice = ask().choices[0]
            assert isinstance(json.loads(choice.message.content), dict)
            assert choice.finish_reason == "length" or max_tokens > 7
            chunks = [chunk.choices[0].delta.content or "" for chunk in ask(stream=True)]
            assert "".join(chunks) == choice.message.content
    assert choice.finish_reason == "stop" and json.loads(choice.message.content).keys() == {
        "name",
        "age",
    }
    with pytest.raises(pytest.importorskip("openai").BadRequestError, match="Invalid type"):
        ask(response_format={"type": "json_schema", "json_schema": {"schema": {"type": "x"}}})


def test_requests_share_one_process(mmtui, environment, serving):
    for _ in range(2):
        assert mmtui("ask", "--max-tokens", 2, "Hi", env=environment).code == 0
    names = [" ".join(child.cmdline()) for child in serving[1].children(recursive=True)]
    assert len([name for name in names if "spawn_main" in name]) == 1, names
