"""The client against llama.cpp's own server, which xllamacpp has inside."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from gguf_models import write_gguf, write_mmproj
from siglip_run import write_run

from mmtrain.export.gguf import export_gguf
from mmtui.pipeline.assets import fetch

CONTEXT = 512
SERVE = f"""
import sys, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.model_alias = sys.argv[1], {{"smol"}}
parameters.mmproj.path = sys.argv[2] if len(sys.argv) > 2 else ""
parameters.n_ctx, parameters.n_parallel, parameters.port = {CONTEXT}, 1, 0
parameters.cpuparams.n_threads = 1
parameters.warmup = False
server = xllamacpp.Server(parameters)
print(server.listening_address, flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(find_spec("xllamacpp") is None, reason="xllamacpp is missing")


@pytest.fixture(scope="module")
def url(smol) -> Iterator[str]:
    """Serve the language model of smol, and return the address of the server."""
    with serve(fetch.fetch(smol.spec.language.weights)) as address:
        yield address


@contextmanager
def serve(*files: Path) -> Iterator[str]:
    """Serve a GGUF, and a mmproj if there is a second file, in a process that may crash."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, *map(str, files)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdin and process.stdout
    address = process.stdout.readline().strip()
    if not address:
        pytest.skip(f"the server does not start here: exit code {process.wait()}")
    try:
        yield address
    finally:
        process.stdin.close()
        process.wait(60)


def test_a_reply_is_streamed_with_its_usage(mmtui, url):
    run = mmtui("ask", "--endpoint", url, "--json", "--max-tokens", 8, "What is a cat?")
    assert run.code == 0, run.err
    assert run.json["answer"] and run.json["model"] == "smol"
    assert run.json["usage"]["prompt_tokens"] > 8
    assert (run.json["usage"]["completion_tokens"], run.json["stop_reason"]) == (8, "length")
    assert run.json["timing"]["decode_tokens_per_s"] > 0


def test_its_abilities_are_known(mmtui, url):
    [model] = mmtui("models", "--endpoint", url, "--json").json
    assert (model["name"], model["sees"], model["context"]) == ("smol", False, CONTEXT)


def test_a_picture_that_it_would_refuse_is_not_sent(mmtui, url, cat):
    run = mmtui("ask", "--endpoint", url, "--image", cat, "What is it?")
    assert run.code == 3 and "smol does not accept pictures" in run.err


def test_a_model_with_an_mmproj_gets_pictures(mmtui, tmp_path, cat):
    language, tower = write_gguf(tmp_path / "m.gguf"), write_mmproj(tmp_path / "mmproj.gguf")
    with serve(language, tower) as url:
        [model] = mmtui("models", "--endpoint", url, "--json").json
        options = ["--endpoint", url, "--json", "--max-tokens", 4]
        text = mmtui("ask", *options, "What is it ?").json
        run = mmtui("ask", *options, "--image", cat, "--image", cat, "What is it ?")
    assert model["sees"]
    assert run.code == 0, run.err
    of_pictures = run.json["usage"]["prompt_tokens"] - text["usage"]["prompt_tokens"]
    assert of_pictures > 2


def test_a_question_longer_than_its_context_is_refused_with_its_own_words(mmtui, url):
    run = mmtui("ask", "--endpoint", url, "word " * 2 * CONTEXT)
    assert run.code == 1
    assert "exceeds the available context size" in run.err and "larger context" in run.err


def test_a_chat_leaves_out_the_oldest_turns_when_its_context_is_full(mmtui, url, tmp_path):
    lines = "\n".join(f"{number} {'word ' * 150}" for number in range(4))
    (tmp_path / "mmtui").mkdir()
    (tmp_path / "mmtui" / "config.toml").write_text("max_tokens = 8\n")
    home = {"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    run = mmtui("--plain", "--endpoint", url, stdin=lines.encode(), env=home)
    assert run.code == 0 and "error" not in run.err, run.err
    assert "turns are left out" in run.err


def test_a_stopped_reply_is_continued(mmtui, url, tmp_path):
    (tmp_path / "mmtui").mkdir()
    (tmp_path / "mmtui" / "config.toml").write_text("max_tokens = 6\n")
    home = {"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    lines = b"Count from one to ten.\n/continue\n"
    run = mmtui("--plain", "--endpoint", url, stdin=lines, env=home)
    assert run.code == 0, run.err
    first, rest, *_ = [*run.out.split("\n"), ""]
    uninterrupted = mmtui(
        "ask", "--endpoint", url, "--max-tokens", 12, "Count from one to ten."
    ).out  # fmt: skip
    assert first and rest and uninterrupted.startswith(first)


def test_an_exported_model_gets_pictures(mmtui, tiny_llama, tmp_path, cat):
    write_run(tiny_llama, tmp_path)
    files = export_gguf(str(tmp_path / "run"), tmp_path / "out", "f16") / "language"
    with serve(files / "model.gguf", files / "mmproj.gguf") as url:
        options = ["--endpoint", url, "--json", "--max-tokens", 4, "What is it?"]
        text, run = mmtui("ask", *options).json, mmtui("ask", "--image", cat, *options)
    assert run.code == 0, run.err
    assert run.json["usage"]["prompt_tokens"] - text["usage"]["prompt_tokens"] >= 16
