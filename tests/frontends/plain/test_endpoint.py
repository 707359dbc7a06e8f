"""`mmtui --plain --endpoint` as it is run, with a scripted server."""

import numpy as np
import pytest
from scripted_server import (
    USAGE,
    ScriptedServer,
    refuse,
    reply,
    reset,
    send,
    to_event,
    to_part,
)

from mmtui.pipeline.input_files import encode_wav

KEY = "sk-secret-1234"


@pytest.fixture
def home(tmp_path) -> dict[str, str]:
    return {"XDG_DATA_HOME": str(tmp_path / "data"), "MMTUI_MODEL": "", "MMTUI_ENDPOINT": ""}


def test_lines_are_answered_and_models_are_listed(mmtui, home):
    with ScriptedServer(reply("Hi ", "there."), reply("Blue.")) as server:
        run = mmtui(
            "--plain", "--endpoint", server.url, stdin=b"Hello\nColour?\n/model\n", env=home
        )
    assert (run.code, run.out, run.err) == (0, "Hi there.\nBlue.\n", "tiny\n")
    assert [message["role"] for message in server.completions[1].json["messages"]] == [
        "user", "assistant", "user",
    ]  # fmt: skip


def test_the_settings_name_the_server_and_the_model(mmtui, home, tmp_path):
    folder = tmp_path / "config" / "mmtui"
    folder.mkdir(parents=True)
    with ScriptedServer(reply("Hi.")) as server:
        settings = f'endpoint = "{server.url}"\nmodel = "big"\napi_key_env = "MY_KEY"\n'
        (folder / "config.toml").write_text(settings)
        places = {name: str(tmp_path / name) for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME")}
        places["XDG_CONFIG_HOME"] = str(tmp_path / "config")
        environment = home | places | {"MY_KEY": KEY}
        run = mmtui("--plain", stdin=b"Hello\n", env=environment)
    assert (run.code, run.out, run.err) == (0, "Hi.\n", "")
    assert server.completions[0].json["model"] == "big"
    assert server.completions[0].headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in mmtui("config", "show", env=environment).out
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 1
    assert not [file for file in files if KEY.encode() in file.read_bytes()]


def test_thinking_is_a_note_and_not_part_of_the_reply(mmtui, home):
    parts = [to_part(reasoning="Let me "), to_part(reasoning="see."), to_part("Yes.", "stop")]
    with ScriptedServer(send(*parts, b"data: [DONE]\n\n")) as server:
        run = mmtui("--plain", "--endpoint", server.url, stdin=b"Is it?\nIs it?\n", env=home)
    assert (run.code, run.out, run.err) == (0, "Yes.\nYes.\n", "thinking ...\n" * 2)


def test_a_recording_is_sent_without_a_transcript_to_a_model_that_hears(mmtui, home, tmp_path):
    file = tmp_path / "bell.wav"
    file.write_bytes(encode_wav(np.ones(8000, np.float32)))
    with ScriptedServer(reply("A bell."), reply("Loud.")) as server:
        lines = f"/audio {file}\n\n/audio {file}\nHow loud is it?\n"
        options = ["--plain", "--endpoint", server.url, "--listen", "model"]
        run = mmtui(*options, stdin=lines.encode(), env=home)
    assert (run.code, run.out) == (0, "A bell.\nLoud.\n"), run.err
    last = server.completions[1].json["messages"][-1]["content"]
    assert [part["type"] for part in last] == ["input_audio", "text"]


def test_a_fault_keeps_the_partial_reply_and_the_chat_goes_on(mmtui, home):
    steps = reset(to_part("Part")), refuse(413, b""), reply("Whole.")
    with ScriptedServer(*steps) as server:
        run = mmtui("--plain", "--endpoint", server.url, stdin=b"Hello\n/retry\n/retry\n", env=home)
    assert (run.code, run.out) == (0, "Part\n\nWhole.\n")
    first, _, second, *_ = run.err.splitlines()
    assert "closed the connection" in first and "too large" in second


@pytest.mark.parametrize("command", [["--plain"], ["serve", "--port", "0"], ["ask", "Hi"]])
def test_a_bad_address_is_refused_by_every_command(mmtui, home, command):
    run = mmtui(*command, "--endpoint", "ftp://here", env=home)
    assert run.code == 2
    assert run.err.startswith("error: this is not the address of a server\nhint: ")


def test_calls_of_tools_are_notes_and_details_follow_the_reply(mmtui, home):
    call = {"index": 0, "id": "a", "function": {"name": "look_up", "arguments": '{"a": 1}'}}
    part = to_event({"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": None}]})
    steps = [send(part, to_part("Yes.", "stop"), USAGE), send(part, to_part("", "tool_calls"))]
    with ScriptedServer(*steps) as server:
        lines = b"/details on\nIs it?\n/details off\nIs it?\n"
        run = mmtui("--plain", "--endpoint", server.url, stdin=lines, env=home)
    shown, tool, details, hidden, *last = run.err.splitlines()
    assert (run.code, run.out) == (0, "Yes.\n\n")
    assert (shown, tool) == ("details of messages are shown", 'tool: look_up {"a": 1}')
    assert details.startswith("tiny · ") and "3 tokens" in details
    assert hidden == "details of messages are hidden" and tool in last
    assert any("calls a tool instead of answering" in line for line in last)
    assert any("executes none" in line for line in last)


def test_a_file_is_attached_by_an_option(mmtui, home, tmp_path):
    notes = tmp_path / "notes.md"
    notes.write_text("The trip starts on Friday.")
    with ScriptedServer(reply("Friday.")) as server:
        options = ["--plain", "--endpoint", server.url, "--file"]
        run = mmtui(*options, notes, stdin=b"When?\n", env=home)
        missing = mmtui(*options, tmp_path / "no.md", stdin=b"When?\n", env=home)
    assert (run.code, run.out) == (0, "Friday.\n") and "attached: notes.md" in run.err
    assert "starts on Friday" in server.completions[0].json["messages"][0]["content"]
    assert missing.code == 4 and missing.err.startswith("error: no such file: ")
