"""Standard streams that are closed, full, a pipe or a terminal."""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_line import COMMAND

from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec


@pytest.mark.parametrize("arguments", ["ask", "", "--plain"])
def test_a_closed_stdin_counts_as_empty(mmtui, tmp_path, arguments):
    command = f"{sys.executable} -m mmtui {arguments} <&-"
    home = {"XDG_DATA_HOME": str(tmp_path)}
    run = subprocess.run(
        command, shell=True, capture_output=True, text=True, env=os.environ | home, check=False
    )
    assert run.returncode == (2 if arguments == "ask" else 0), run.stderr
    assert "a bug" not in run.stderr


def test_control_characters_of_a_model_are_removed_but_kept_in_json(mmtui, tiny_llama, tmp_path):
    """All logits of the model are equal, and token 0, which greedy decoding selects, is ESC."""
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(tiny_llama, tmp_path / "evil")
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    escape = tokenizer["model"]["vocab"]["\u011b"]  # the byte-level name of ESC
    config = json.loads((copy / "config.json").read_text())
    config["tie_word_embeddings"] = False
    (copy / "config.json").write_text(json.dumps(config))
    state = load_file(copy / "model.safetensors")
    state["model.norm.weight"].zero_()
    state["lm_head.weight"] = torch.zeros(320, 64)
    vocabulary = tokenizer["model"]["vocab"]
    other = next(token for token, index in vocabulary.items() if index == 0)
    vocabulary["\u011b"], vocabulary[other] = 0, escape
    for token in tokenizer["added_tokens"]:
        if token["id"] == 0:
            token["id"] = escape
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    spec = ModelSpec("evil", LanguageSpec(Asset(str(copy)), "fp32"))
    checkpoint.write(tmp_path / "model", spec)
    options = ("--model", tmp_path / "model", "--max-tokens", 3, "Hi")
    run = mmtui("ask", *options)
    assert run.code == 0 and "\x1b" not in run.out
    run = mmtui("ask", "--json", *options)
    assert "\x1b" not in run.out and run.json["answer"] == "\x1b" * 3


def test_a_pipe_that_closes_ends_the_command_without_an_error(smol):
    script = f"{COMMAND} ask 'Tell me a long story.' | head -c 20"
    run = subprocess.run(["bash", "-c", script], capture_output=True, timeout=120, check=False)
    assert len(run.stdout) == 20
    assert b"Traceback" not in run.stderr and b"error" not in run.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_error_of_writing_to_stdout_is_reported(smol):
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [COMMAND, "ask", "--json", "Hi"],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
    assert run.returncode == 1
    assert b"No space left" in run.stderr and b"Traceback" not in run.stderr


def test_a_terminal_shows_the_progress_and_the_answer(smol):
    """All output goes to a pseudo-terminal."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "ask", "What is the capital of France?"], stdin=child, stdout=child, stderr=child
    )
    os.close(child)
    output = b""
    while True:
        try:
            data = os.read(parent, 4096)
        except OSError:
            break
        if not data:
            break
        output += data
    assert process.wait() == 0
    assert b"The capital of France is Paris." in output
    assert b"loading the language model" in output


def test_a_command_works_with_closed_streams(smol, photo):
    for redirect, open_stream in ((">&-", "stderr"), ("2>&-", "stdout")):
        script = f"{COMMAND} ask --json --max-tokens 2 Hi <&- {redirect}"
        run = subprocess.run(["bash", "-c", script], capture_output=True, timeout=120, check=False)
        assert run.returncode == 0, run
        assert b"Traceback" not in run.stderr
        assert open_stream == "stderr" or json.loads(run.stdout)["answer"]
    script = f"{COMMAND} ask --image {photo} Hi 2>&-"
    run = subprocess.run(["bash", "-c", script], capture_output=True, timeout=120, check=False)
    assert run.stdout.strip() and run.returncode == 0
