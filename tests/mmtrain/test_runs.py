"""Runs have the same losses when they are killed, stopped, resumed or distributed."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock
from run_metrics import losses, read_metrics
from safetensors.torch import load_file

BIN = Path(sys.executable).parent

pytestmark = pytest.mark.slow  # trains in other processes

ALIGN = (
    "--steps",
    9,
    "--eval-every",
    4,
    "--save-every",
    3,
    "--precision",
    "fp32",
    "--init",
    "random",
)


@pytest.fixture(scope="module")
def finetune_arguments(tiny_seeing_phi: Path, shapes_data: Path) -> list[str]:
    """Return arguments with dropout, so that the random state matters."""
    return [
        "finetune", "--from", str(tiny_seeing_phi), "--data",
        str(shapes_data / "llava_instruct.json"),
        "--quantize", "none", "--rank", "4", "--dropout", "0.3", "--batch", "2", "--steps", "12",
        "--eval-every", "5", "--save-every", "3", "--lora-lr", "0.01", "--images",
        str(shapes_data / "train2017"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(
    finetune_arguments: list[str], session_cache: dict, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    run = start([*finetune_arguments, "--out", str(out)], session_cache)
    assert run.wait(timeout=200) == 0, run.stderr.read()
    return out


def start(arguments: list[str], environment: dict) -> subprocess.Popen:
    return subprocess.Popen(
        [BIN / "mmtrain", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def wait_for_step(run: subprocess.Popen, out: Path, step: int) -> None:
    """Wait until metrics.jsonl has the step, or the run has ended."""
    path = out / "metrics.jsonl"
    pause = threading.Event()
    while run.poll() is None:
        if path.exists() and any(f'"step": {step}, "loss"' in line for line in path.open()):
            return
        pause.wait(0.005)


def assert_same_results(first: Path, second: Path) -> None:
    assert (first / "metrics.jsonl").read_bytes() == (second / "metrics.jsonl").read_bytes()
    for name in ("projector.safetensors", "adapter/adapter_model.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_killed_run_resumes_with_identical_results(
    finetune_arguments, uninterrupted, session_cache, tmp_path
):
    out = tmp_path / "killed"
    run = start([*finetune_arguments, "--out", str(out)], session_cache)
    wait_for_step(run, out, 8)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert len(read_metrics(out)) < len(read_metrics(uninterrupted))
    assert not (out / "state" / "00000012").exists()
    run = start([*finetune_arguments, "--out", str(out), "--resume", "auto"], session_cache)
    assert run.wait(timeout=200) == 0, run.stderr.read()
    assert_same_results(out, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_saves_and_resumes(
    finetune_arguments, uninterrupted, session_cache, tmp_path, number
):
    out = tmp_path / "stopped"
    run = start([*finetune_arguments, "--out", str(out)], session_cache)
    wait_for_step(run, out, 4)
    run.send_signal(number)
    assert run.wait(timeout=100) == 130
    assert "--resume auto continues the run" in run.stderr.read()
    saved = max(int(path.name) for path in (out / "state").glob("[0-9]*"))
    assert read_metrics(out)[-1]["step"] == saved < 12
    run = start([*finetune_arguments, "--resume", str(out)], session_cache)
    assert run.wait(timeout=200) == 0, run.stderr.read()
    assert_same_results(out, uninterrupted)


@pytest.mark.parametrize("damaged", ["trained.safetensors", "optimizer.pt", "seal.json"])
def test_a_damaged_state_falls_back_to_the_one_before(
    finetune_arguments, uninterrupted, session_cache, tmp_path, damaged
):
    out = tmp_path / "damaged"
    subprocess.run(["cp", "-r", uninterrupted, out], check=True)
    file = out / "state" / "00000012" / damaged
    file.write_bytes(file.read_bytes()[:-9])
    run = start([*finetune_arguments, "--out", str(out), "--resume", "auto"], session_cache)
    assert run.wait(timeout=200) == 0
    assert "00000012 is damaged; the state before it is used" in run.stderr.read()
    assert_same_results(out, uninterrupted)


def test_a_run_belongs_to_one_process(finetune_arguments, uninterrupted, session_cache):
    more = ["--steps", "13", "--resume", str(uninterrupted)]
    with FileLock(uninterrupted / "state" / ".lock"):
        run = start([*finetune_arguments, *more], session_cache)
        assert run.wait(timeout=100) == 2
    assert f"another process trains in {uninterrupted}" in run.stderr.read()


def test_a_finished_run_has_the_documented_files(uninterrupted, mmtui):
    names = {path.name for path in uninterrupted.iterdir()}
    assert names == {
        "spec.json", "projector.safetensors", "adapter", "metrics.jsonl", "loss.png", "run.json",
        "samples", "state",
    }  # fmt: skip
    states = sorted(path.name for path in (uninterrupted / "state").glob("[0-9]*"))
    assert states == ["00000009", "00000012"]
    steps = [line["step"] for line in read_metrics(uninterrupted) if "loss" in line]
    assert steps == list(range(1, 13))
    evaluated = [line["step"] for line in read_metrics(uninterrupted) if "validation_loss" in line]
    assert evaluated == [0, 5, 10, 12]
    samples = [json.loads(line) for line in (uninterrupted / "samples" / "00000012.jsonl").open()]
    assert samples and {"question", "answer", "reference"} <= samples[0].keys()
    assert (uninterrupted / "samples" / "00000012.png").read_bytes().startswith(b"\x89PNG")
    picture = next((uninterrupted / "samples").glob("*.png"))
    answer = mmtui("ask", "--model", uninterrupted, "--image", picture, "--max-tokens", 5, "What?")
    assert answer.code == 0, answer.err


def align(mmtrain, model: Path, data: Path, out: Path, environment: dict, *more: object) -> None:
    arguments = ("align", "--model", model, "--data", data, "--out", out, *ALIGN, *more)
    run = mmtrain(*arguments, env=environment)
    assert run.code == 0, run.err


def test_eight_batches_of_one_are_one_batch_of_eight_and_two_processes(
    mmtrain, tiny_model, shapes_data, session_cache, tmp_path
):
    at_once, one_by_one = tmp_path / "8x1", tmp_path / "1x8"
    align(mmtrain, tiny_model, shapes_data, at_once, session_cache, "--batch", 8)
    accumulated = ("--batch", 1, "--accumulation", 8)
    align(mmtrain, tiny_model, shapes_data, one_by_one, session_cache, *accumulated)
    assert losses(one_by_one) == pytest.approx(losses(at_once), rel=1e-5)
    assert losses(at_once)[-1] < losses(at_once)[0]

    distributed = tmp_path / "2 processes"
    command = [BIN / "accelerate", "launch", "--multi_gpu", "--num_processes", "2"]
    command += [
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "-m",
        "mmtrain",
        "align",
    ]
    command += ["--model", tiny_model, "--data", shapes_data, "--out", distributed, "--batch", "2"]
    command += ["--accumulation", "2", *map(str, ALIGN)]
    environment = {**os.environ, **session_cache, "MASTER_PORT": "29613"}
    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert run.returncode == 0, run.stderr
    assert losses(distributed) == pytest.approx(losses(at_once), rel=1e-5)
    expected = load_file(at_once / "projector.safetensors")
    for name, tensor in load_file(distributed / "projector.safetensors").items():
        assert (tensor - expected[name]).abs().max() < 1e-4


def test_a_full_disk_is_reported_and_the_previous_state_is_intact(
    mmtrain, installed_mmtrain, tiny_model, shapes_data, session_cache, tmp_path
):
    """The file system of the run has room for its first steps, then for no more."""
    out = tmp_path / "out"
    arguments = ["--model", tiny_model, "--data", shapes_data, "--out", out, *ALIGN]
    complete = tmp_path / "complete"
    align(mmtrain, tiny_model, shapes_data, complete, session_cache)
    subprocess.run(["mkdir", out], check=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=620k", "tmpfs", out], check=False)
    if mounted.returncode:
        pytest.skip("a small file system can only be mounted by root")
    try:
        run = installed_mmtrain("align", *arguments, env=session_cache)
        assert run.code == 1, run.err
        assert "the disk is full" in run.err and "Traceback" not in run.err, run.err
        subprocess.run(["mount", "-o", "remount,size=50m", out], check=True)
        run = installed_mmtrain("align", *arguments, "--resume", "auto", env=session_cache)
        assert run.code == 0, run.err
        assert losses(out) == losses(complete)
    finally:
        subprocess.run(["umount", out], check=True)
