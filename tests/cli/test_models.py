"""`mmtui ask` with models that are files."""

import json
import re
from pathlib import Path

import pytest
from gguf_models import change_number, write_gguf, write_mmproj

from mmtui.pipeline.engines.llama_library import find_packages

pytestmark = pytest.mark.skipif(not find_packages(), reason="llama.cpp is not installed")


def assert_fails(run, code: int, error: str, hint: str) -> None:
    """Check for one line, a hint, the exit code, and nothing else."""
    assert run.code == code, run.err
    lines = run.err.splitlines()
    assert len(lines) == 2, run.err
    assert re.match(f"error: .*{error}", lines[0]), run.err
    assert re.match(f"hint: .*{hint}", lines[1]), run.err
    assert run.out == ""


def test_a_gguf_file_answers(mmtui, tmp_path):
    file = write_gguf(tmp_path / "My model.gguf", "qwen2")
    run = mmtui("ask", "What is it?", "--model", file, "--max-tokens", 4, "--json")
    assert run.code == 0, run.err
    assert run.json["model"] == "My model"
    assert run.json["answer"]
    pulled = mmtui("pull", file)
    assert pulled.code == 0, pulled.err
    assert str(file) in pulled.out


def test_a_gguf_file_with_an_mmproj_accepts_pictures(mmtui, tmp_path, cat):
    file = write_gguf(tmp_path / "model.gguf", "qwen2")

    def ask(*options: object):
        return mmtui(
            "ask", "What?", "--model", file, "--image", cat, "--max-tokens", 2, "--json", *options
        )

    assert_fails(ask(), 3, "model can't see: no mmproj", "--mmproj FILE")
    mmproj = write_mmproj(tmp_path / "towers" / "mmproj.gguf")
    chosen = ask("--mmproj", mmproj)
    assert chosen.code == 0, chosen.err
    assert [image["tokens"] for image in chosen.json["images"]] == [16]
    mmproj.rename(tmp_path / "mmproj.gguf")
    assert ask().json["answer"] == chosen.json["answer"]
    assert_fails(ask("--mmproj", mmproj), 3, "no such file", "after --mmproj")


def test_a_gguf_file_can_be_measured(mmtui, tmp_path):
    file = write_gguf(tmp_path / "model.gguf", "qwen2")
    mmproj = write_mmproj(tmp_path / "towers" / "mmproj.gguf")
    run = mmtui("bench", "--model", file, "--mmproj", mmproj, "--json")
    assert run.code == 0, run.err
    assert (run.json["model"], run.json["engine"]) == ("model", "llamacpp")
    assert run.json["image_s"] > 0
    refused = mmtui("bench", "--model", file, "--precision", "bf16")
    assert_fails(refused, 2, "model has the precision of its file", "leave --precision out")


def test_models_of_other_programs_are_listed(mmtui, tmp_path):
    root = tmp_path / "models"
    digest = "0" * 64
    write_gguf(root / "blobs" / f"sha256-{digest}", "qwen2")
    manifest = root / "manifests/registry.ollama.ai/library/tiny/latest"
    manifest.parent.mkdir(parents=True)
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"}
    manifest.write_text(json.dumps({"layers": [layer]}))
    store = {"OLLAMA_MODELS": str(root)}
    listed = mmtui("models", env=store)
    assert "ollama:tiny:latest (F32, 0.0 GB)" in listed.out.splitlines()
    entries = {entry["name"]: entry for entry in mmtui("models", "--json", env=store).json}
    assert entries["ollama:tiny:latest"]["fits"] is True
    answered = mmtui("ask", "What?", "--model", "ollama:tiny", "--max-tokens", 2, env=store)
    assert answered.code == 0, answered.err
    missing = mmtui("ask", "What?", "--model", "ollama:huge", env=store)
    assert_fails(missing, 3, "Ollama has no model huge here", "ollama pull huge")


def test_a_problem_of_a_file_is_reported_in_one_line(mmtui, tmp_path):
    file: Path = write_gguf(tmp_path / "x.gguf")
    contents = file.read_bytes()

    def ask():
        return mmtui("ask", "What?", "--model", file)

    file.write_bytes(contents[:-1000])
    assert_fails(ask(), 4, "x.gguf is cut off", "download")
    file.write_bytes(contents[:1000])
    assert_fails(ask(), 4, "header of .* is damaged", "download")
    file.write_bytes(contents.replace(b"llama", b"lxama"))
    assert_fails(ask(), 4, "unknown model architecture: 'lxama'", "update")
    file.unlink()
    assert_fails(ask(), 3, "no such file", "check the name")
    write_gguf(file, "qwen2", "{{ 1 / 0 }}")
    assert_fails(ask(), 4, "chat template of this model fails: division by zero", "another model")
    refused = mmtui("ask", "What?", "--model", file, "--engine", "torch")
    assert_fails(refused, 2, "torch", "llamacpp")
    write_gguf(file, "qwen2", "{{ '' }}")
    assert_fails(ask(), 4, "chat template of x gives an empty prompt", "another model")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("embedding_length", 2**32 - 1),
        ("attention.head_count_kv", 2**20),
        ("context_length", 0),
        ("context_length", 2**32 - 1),
    ],
)
def test_sizes_that_are_wrong_are_reported_as_damage(mmtui, tmp_path, key, value):
    file = write_gguf(tmp_path / "x.gguf", "qwen2")
    change_number(file, f"qwen2.{key}", value)
    run = mmtui("ask", "What?", "--model", file)
    assert_fails(run, 4, "header .*is damaged", "download or copy it again")


def test_an_mmproj_that_can_t_encode_a_picture_is_reported(mmtui, tmp_path, cat):
    file = write_gguf(tmp_path / "x.gguf", "qwen2")
    change_number(write_mmproj(tmp_path / "mmproj.gguf"), "clip.vision.image_size", 0)
    run = mmtui("ask", "What?", "--model", file, "--image", cat)
    assert_fails(run, 4, r"mmproj\.gguf can't encode a picture of \d+ x \d+ pixels", "another file")
