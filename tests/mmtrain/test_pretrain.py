"""`mmtrain pretrain` reads text in several formats and writes a model that mmtui loads."""

import gzip
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from run_metrics import losses, read_metrics
from small_configs import NANO

RUN = ("--block", 64, "--steps", 8, "--eval-every", 4, "--save-every", 4, "--precision", "fp32")


@pytest.fixture(scope="module")
def text(shapes_data: Path) -> list[str]:
    return (shapes_data / "text.jsonl").read_text().splitlines(keepends=True)


@pytest.fixture
def nano(tmp_path: Path) -> Path:
    (tmp_path / "nano.json").write_text(json.dumps(NANO))
    return tmp_path / "nano.json"


def test_every_format_in_a_folder_is_read_and_the_model_answers(
    installed_mmtrain, mmtui, text, nano, session_cache, tmp_path
):
    data = tmp_path / "data" / "c4"
    data.mkdir(parents=True)
    (data / "a.jsonl").write_text("".join(text[::3]))
    (data / "b.jsonl.gz").write_bytes(gzip.compress("".join(text[1::3]).encode()))
    (data / "c.jsonl.zst").write_bytes(
        zstandard.compress("".join([*text[2::3], "not json\n"]).encode())
    )
    out = tmp_path / "out"
    arguments = ("--size", nano, "--data", tmp_path / "data", "--out", out, "--lr", 0.01)
    run = installed_mmtrain("pretrain", *arguments, *RUN, env=session_cache)
    assert run.code == 0, run.err
    assert "note: 1 line skipped: not JSON (first: c.jsonl.zst:" in run.err
    first = read_metrics(out)[0]
    assert first["validation_loss"] == pytest.approx(math.log(400), rel=0.02)
    assert read_metrics(out)[-1]["validation_loss"] < 0.9 * first["validation_loss"]

    scored = installed_mmtrain(
        "eval", "text", "--model", out, "--data", data / "a.jsonl", "--json", env=session_cache
    )
    assert scored.json["perplexity_per_token"] < 400
    answer = mmtui("ask", "--model", out, "--max-tokens", 8, "A circle", env=session_cache)
    assert answer.code == 0, answer.err


def test_a_run_sharded_over_two_processes_has_the_same_losses(
    mmtrain, text, nano, session_cache, tmp_path
):
    (tmp_path / "text.jsonl").write_text("".join(text))
    common = ["--size", nano, "--data", tmp_path / "text.jsonl", *RUN]
    alone, sharded = tmp_path / "alone", tmp_path / "sharded"
    run = mmtrain("pretrain", *common, "--batch", 4, "--out", alone, env=session_cache)
    assert run.code == 0, run.err

    def launch(*more: object) -> None:
        root = Path(__file__).parents[2]
        command = [Path(sys.executable).with_name("accelerate"), "launch", "--config_file"]
        command += [root / "mmtrain" / "fsdp.yaml", "--num_processes", 2, "--mixed_precision", "no"]
        command += [Path(__file__).with_name("sharded_on_cpu.py"), "pretrain", *common]
        command += ["--batch", 2, "--out", sharded, *more]
        environment = {**os.environ, **session_cache, "MASTER_PORT": "29617"}
        run = subprocess.run(
            list(map(str, command)),
            env=environment, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr

    launch()
    assert losses(sharded) == pytest.approx(losses(alone), rel=1e-5)
    norms = [[x["gradient_norm"] for x in read_metrics(r) if "loss" in x] for r in (alone, sharded)]
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)

    metrics = (sharded / "metrics.jsonl").read_bytes()
    (sharded / "state" / "00000008" / "seal.json").unlink()
    launch("--resume", "auto")
    assert (sharded / "metrics.jsonl").read_bytes() == metrics


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "contains no text"),
        (b'{"text": ""}\n{"text": "  "}\n', '2 lines skipped: an empty "text" (first: a.jsonl:1)'),
        (b"no json\n", "1 line skipped: not JSON (first: a.jsonl:1)"),
        (b'{"text": "alone"}\n', "less than a block"),
    ],
)
def test_unusable_text_is_refused(mmtrain, nano, session_cache, tmp_path, content, error):
    (tmp_path / "a.jsonl").write_bytes(content)
    arguments = ("--size", nano, "--block", 64, "--data", tmp_path / "a.jsonl")
    run = mmtrain("pretrain", *arguments, "--out", tmp_path / "out", env=session_cache)
    assert run.code == 4 and error in run.err and "Traceback" not in run.err
    assert not (tmp_path / "out").exists()


def test_a_run_that_does_not_fit_is_refused_with_the_missing_memory(
    mmtrain, text, session_cache, tmp_path
):
    (tmp_path / "text.jsonl").write_text("".join(text))
    arguments = ("--data", tmp_path / "text.jsonl", "--batch", 200_000, "--block", 64)
    run = mmtrain("pretrain", *arguments, "--out", tmp_path / "out", env=session_cache)
    assert run.code == 1
    assert "GiB more memory" in run.err and "hint: lower --batch" in run.err
    assert not (tmp_path / "out").exists()
