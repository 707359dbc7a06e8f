"""`mmtui ask --endpoint` against a scripted server that plays every fault."""

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scripted_server import (
    ScriptedServer,
    endless,
    hang,
    refuse,
    reply,
    send,
    to_event,
    to_part,
)
from test_house import HEAVY, run_and_list_modules

from mmtui.pipeline.input_files import encode_wav
from mmtui.pipeline.speech.sound import decode

CERTIFICATE = Path(__file__).with_name("localhost.pem")
KEY = "sk-secret-1234"


def test_the_answer_is_streamed_to_stdout(mmtui):
    with ScriptedServer(reply("Hello", " world.")) as server:
        run = mmtui("ask", "--endpoint", server.url, "--system", "Be brief.", "Hi")
    assert (run.code, run.out, run.err) == (0, "Hello world.\n", "")
    body = server.completions[0].json
    assert body["model"] == "tiny"
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert body["stream"] and body["stream_options"] == {"include_usage": True}
    assert (body["max_tokens"], body["temperature"]) == (512, 0.0)


def test_json_keeps_the_keys_of_a_local_model(mmtui):
    with ScriptedServer(reply("Hello", "!")) as server:
        run = mmtui(
            "ask", "--json", "--model", "big", "--seed", 3, "--temperature", 0.5, "Hi",
            env={"MMTUI_ENDPOINT": server.url},
        )  # fmt: skip
    assert run.code == 0 and run.err == ""
    timing = run.json["timing"]
    assert run.json == {
        "answer": "Hello!",
        "transcript": None,
        "model": "big",
        "engine": "server",
        "images": [],
        "usage": {"prompt_tokens": 12, "cached_tokens": 5, "completion_tokens": 3},
        "timing": timing,
        "stop_reason": "stop",
    }
    assert timing["first_token_s"] > 0
    body = server.completions[0].json
    assert (body["model"], body["seed"], body["temperature"]) == ("big", 3, 0.5)


ODD_PARTS: list[object] = [
    {},
    {"choices": None},
    {"choices": {}},
    {"choices": [None]},
    {"choices": [[]]},
    {"choices": [{"delta": "text"}]},
    {"choices": [{"delta": {"content": {"text": 3}, "reasoning": [1, {"text": None}]}}]},
    {"choices": [{"delta": {"content": [{"type": "text", "text": "He"}]}}]},
    {"choices": [{"message": {"content": "llo"}}]},
    {"usage": 3},
    {"usage": {"completion_tokens": "3", "prompt_tokens": -1}},
    {"usage": {"completion_tokens": 10**400, "prompt_tokens_details": []}},
    {"choices": [{"delta": {"content": "!"}, "finish_reason": {"odd": 1}}]},
]


def test_odd_parts_of_a_stream_are_ignored(mmtui):
    with ScriptedServer(send(*map(to_event, ODD_PARTS), b"data: [DONE]\n\n")) as server:
        run = mmtui("ask", "--endpoint", server.url, "--json", "Hi")
    assert run.code == 0, run.err
    assert (run.json["answer"], run.json["stop_reason"]) == ("Hello!", "stop")
    assert run.json["usage"]["completion_tokens"] == 3


def test_thinking_is_not_part_of_the_answer(mmtui):
    parts = [to_part(reasoning_content="Hmm."), to_part(reasoning="Well."), to_part("Yes.", "stop")]
    with ScriptedServer(send(*parts, b"data: [DONE]\n\n")) as server:
        run = mmtui("ask", "--endpoint", server.url, "Hi")
    assert (run.code, run.out) == (0, "Yes.\n")


def test_pictures_go_as_upright_data_uris_of_limited_size(mmtui, tmp_path):
    photo, drawing = tmp_path / "photo.jpg", tmp_path / "drawing.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    Image.effect_noise((2000, 1000), 80).convert("RGB").save(photo, exif=exif)
    Image.new("RGB", (30, 20), "red").save(drawing)
    with ScriptedServer(reply("Seen.")) as server:
        run = mmtui(
            "ask", "--endpoint", server.url, "--image", photo, "--image", drawing, "What is it?"
        )
    assert (run.code, run.out) == (0, "Seen.\n"), run.err
    *pictures, text = server.completions[0].json["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is it?"}
    found = []
    for part in pictures:
        kind, _, data = part["image_url"]["url"].partition(";base64,")
        image = Image.open(io.BytesIO(base64.b64decode(data)))
        found.append((kind, image.format, image.size))
    assert found == [
        ("data:image/jpeg", "JPEG", (784, 1568)),
        ("data:image/png", "PNG", (30, 20)),
    ]


@pytest.mark.parametrize("has_picture", [False, True], ids=["text", "picture"])
def test_nothing_heavy_is_imported(cat, has_picture):
    options = ["--image", cat] if has_picture else []
    with ScriptedServer(reply("Hello.")) as server:
        loaded, run = run_and_list_modules("mmtui", "ask", "--endpoint", server.url, *options, "Hi")
    assert run.stdout == "Hello.\n", run.stderr
    assert not loaded & (HEAVY - {"numpy", "PIL"} if has_picture else HEAVY)


def test_a_model_that_hears_gets_the_recording_itself(mmtui, tmp_path):
    file = tmp_path / "noise.wav"
    samples = np.random.default_rng(0).uniform(-1, 1, 8000).astype(np.float32)
    file.write_bytes(encode_wav(samples))
    with ScriptedServer(reply("Noise.")) as server:
        options = ["--endpoint", server.url, "--listen", "model", "--audio", file]
        run = mmtui("ask", *options, "What is it?")
        alone = mmtui("ask", *options)
    assert (run.code, run.out, run.err) == (0, "Noise.\n", "")
    audio, text = server.completions[0].json["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is it?"}
    assert audio["type"] == "input_audio" and audio["input_audio"]["format"] == "wav"
    clip = decode(io.BytesIO(base64.b64decode(audio["input_audio"]["data"]))).clip
    assert np.abs(clip - samples).max() < 1e-3
    assert alone.code == 0
    assert [part["type"] for part in server.completions[1].json["messages"][0]["content"]] == [
        "input_audio"
    ]


def test_a_recording_for_a_model_that_does_not_hear_is_not_sent(mmtui, tmp_path):
    file = tmp_path / "noise.wav"
    file.write_bytes(encode_wav(np.ones(8000, np.float32)))
    with ScriptedServer(reply("x")) as server:
        entry = {"id": "deaf", "architecture": {"input_modalities": ["text", "image"]}}
        server.documents["/v1/models"] = {"data": [entry]}
        options = ["--endpoint", server.url, "--listen", "model", "--audio", file]
        run = mmtui("ask", *options)
        local = mmtui("ask", "--listen", "model", "--audio", file)
    assert run.code == 3 and not server.completions
    assert run.err.startswith("error: deaf does not accept recordings\nhint: --listen whisper")
    assert local.code == 2 and "models on this machine do not hear" in local.err


def test_a_server_that_does_not_stream_is_read(mmtui):
    choice = {"message": {"content": "All at once."}, "finish_reason": "length"}
    body = json.dumps({"choices": [choice], "usage": {"completion_tokens": 3}}).encode()
    with ScriptedServer(send(body, content_type="application/json")) as server:
        run = mmtui("ask", "--endpoint", server.url, "Hi")
    assert (run.code, run.out) == (0, "All at once.\n")
    assert run.err == "stopped after 3 tokens; --max-tokens allows more\n"


def test_a_busy_server_is_waited_for_as_it_asks(mmtui):
    busy = refuse(429, {"error": "slow down"}, Retry_After="1")
    loading = refuse(503, {"error": {"message": "Loading model"}}, Retry_After="0")
    with ScriptedServer(busy, loading, reply("Now.")) as server:
        run = mmtui("ask", "--endpoint", server.url, "Hi")
    assert (run.code, run.out) == (0, "Now.\n")
    assert len(server.completions) == 3


def test_a_server_that_ignores_the_limit_is_cut_off(mmtui):
    with ScriptedServer(endless(to_part("word " * 200))) as server:
        run = mmtui("ask", "--endpoint", server.url, "--max-tokens", 5, "Hi")
        assert server.hung_up.wait(10)
    assert run.code == 0 and run.out.startswith("word word") and len(run.out) < 20_000
    assert run.err == "stopped: the server ignored the length limit\n"


def test_the_error_about_a_missing_model_lists_the_others(mmtui):
    models = [f"model-{number}" for number in range(12)]
    with ScriptedServer(refuse(404, {"error": "no such model"}), models=models) as server:
        run = mmtui("ask", "--endpoint", server.url, "--model", "other", "Hi")
    assert run.code == 3
    shown = ", ".join(models[:10])
    assert run.err.splitlines()[0].endswith("has no model other")
    assert run.err.splitlines()[1] == f"hint: choose one with --model or /model: {shown} and 2 more"


def test_without_a_name_a_server_with_several_models_lists_them(mmtui):
    with ScriptedServer(reply("x"), models=["first", "sec\x1bond"]) as server:
        run = mmtui("ask", "--endpoint", server.url, "Hi")
    assert run.code == 2
    assert run.err.endswith(
        "has 2 models\nhint: choose one with --model or /model: first, second\n"
    )


@pytest.mark.parametrize(
    ("address", "code", "error"),
    [
        ("http://127.0.0.1:1/v1", 3, "127.0.0.1:1: no server is running there"),
        ("http://no-such-host.invalid/v1", 3, "no server of this name is known"),
        ("https://127.0.0.1:{port}/v1", 3, "no encrypted connection"),
        ("http://127.0.0.1:{port}/elsewhere", 3, "has no OpenAI-compatible API at /elsewhere"),
        ("ftp://127.0.0.1/", 2, "not the address of a server"),
        ("http://", 2, "not the address of a server"),
        ("http://[::1/v1", 2, "not the address of a server"),
        ("http://127.0.0.1:99999/v1", 2, "not the address of a server"),
        ("http://me:secret@127.0.0.1/v1", 2, "must not contain a password"),
        ("http://127.0.0.1/v1?key=secret", 2, "ends with its path"),
    ],
)
def test_an_address_without_a_server_is_one_line(mmtui, address, code, error):
    with ScriptedServer(reply("x")) as server:
        port = server.url.split(":")[2].split("/")[0]
        run = mmtui("ask", "--endpoint", address.replace("{port}", port), "Hi")
    lines = [line for line in run.err.splitlines() if not line.startswith("note: ")]
    assert run.code == code, run.err
    assert lines[0].startswith("error: ") and error in lines[0] and len(lines) == 2, run.err
    assert "secret" not in run.err and run.out == ""


def test_a_certificate_has_to_be_trusted(mmtui):
    with ScriptedServer(reply("Safe."), certificate=CERTIFICATE) as server:
        refused = mmtui("ask", "--endpoint", server.url, "Hi")
        run = mmtui("ask", "--endpoint", server.url, "Hi", env={"SSL_CERT_FILE": str(CERTIFICATE)})
    assert refused.code == 3 and "the certificate is not trusted" in refused.err
    assert "SSL_CERT_FILE" in refused.err
    assert (run.code, run.out, run.err) == (0, "Safe.\n", "")


def test_the_key_is_sent_and_never_shown(mmtui):
    quoting = refuse(401, {"error": {"message": f"bad key {KEY}"}})
    with ScriptedServer(quoting) as server:
        environment = {"MMTUI_API_KEY": KEY, "MMTUI_ENDPOINT": server.url}
        run = mmtui("--debug", "ask", "--model", "tiny", "Hi", env=environment)
    assert server.completions[0].headers["Authorization"] == f"Bearer {KEY}"
    assert run.code == 1 and "refuses the key: bad key ***" in run.err
    assert KEY not in run.err + run.out


def test_a_key_at_the_end_of_a_long_quote_is_not_cut_but_hidden(mmtui):
    words = "x" * 290 + KEY
    for step in (refuse(400, {"error": words}), send(to_event({"error": {"message": words}}))):
        with ScriptedServer(step) as server:
            run = mmtui("ask", "--endpoint", server.url, "Hi", env={"MMTUI_API_KEY": KEY})
        assert run.code == 1 and "xxx***" in run.err and KEY[:5] not in run.err


def test_another_variable_can_have_the_key(mmtui):
    with ScriptedServer(reply("Yes.")) as server:
        environment = {"MMTUI_API_KEY_ENV": "MY_KEY", "MY_KEY": KEY, "MMTUI_API_KEY": "other"}
        run = mmtui("ask", "--endpoint", server.url, "Hi", env=environment)
    assert run.code == 0
    assert {each.headers["Authorization"] for each in server.requests} == {f"Bearer {KEY}"}


def test_a_key_that_no_header_can_have_is_refused_without_showing_it(mmtui):
    environment = {"MMTUI_API_KEY": f"{KEY}\n\x01", "MMTUI_ENDPOINT": "127.0.0.1:1"}
    run = mmtui("--debug", "ask", "Hi", env=environment)
    assert run.code == 2 and "$MMTUI_API_KEY does not contain a valid key" in run.err
    assert KEY not in run.err


@pytest.mark.parametrize("has_text", [True, False], ids=["while it answers", "while it is silent"])
def test_ctrl_c_closes_the_connection_and_keeps_the_text(has_text):
    with ScriptedServer(hang(*([to_part("Part")] if has_text else []))) as server:
        command = [Path(sys.executable).with_name("mmtui"), "ask", "--endpoint", server.url, "Hi"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
        )
        assert process.stdout is not None
        if has_text:
            assert process.stdout.read(4) == b"Part"
        else:
            while not server.completions:
                time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert server.hung_up.wait(10)
        rest, messages = process.communicate(timeout=10)
    assert process.returncode == 130
    assert (rest, messages) == (b"\n", b"interrupted\n")


def test_ctrl_c_ends_the_wait_for_a_busy_server():
    with ScriptedServer(refuse(503, {}, Retry_After="60")) as server:
        command = [Path(sys.executable).with_name("mmtui"), "ask", "--endpoint", server.url, "Hi"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while not server.completions:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    assert process.returncode == 130
    assert len(server.completions) == 1


def test_bytes_that_are_not_utf_8_are_replaced(mmtui):
    with ScriptedServer(reply("x")) as server:
        run = mmtui("ask", "--endpoint", server.url, "hi \udcff")
    assert run.code == 0, run.err
    assert server.completions[0].json["messages"] == [{"role": "user", "content": "hi ?"}]


def test_a_call_of_a_tool_instead_of_an_answer_is_a_note(mmtui):
    call = {"index": 0, "id": "a", "function": {"name": "look_up", "arguments": '{"a": 1}'}}
    part = to_event({"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]})
    with ScriptedServer(send(part)) as server:
        run = mmtui("ask", "--endpoint", server.url, "Hi")
    assert (run.code, run.out) == (0, "\n")
    assert 'calls a tool instead of answering: look_up {"a": 1}' in run.err
    assert "executes none" in run.err
