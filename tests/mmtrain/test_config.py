"""`--config` repeats a run from its run.json."""

import json
from pathlib import Path

import pytest
from run_metrics import losses, read_metrics
from small_configs import NANO

SHORT = ("--steps", 3, "--batch", 4, "--precision", "fp32", "--val-limit", 4)


@pytest.fixture
def arguments(
    stage: str, tiny_model: Path, tiny_seeing_phi: Path, shapes_data: Path, tmp_path: Path
) -> tuple:
    """Return the options of a short run, most of which are not the defaults."""
    if stage == "pretrain":
        size = tmp_path / "nano.json"
        size.write_text(json.dumps(NANO))
        data = shapes_data / "text.jsonl"
        return (*SHORT, "--size", size, "--data", data, "--block", 64, "--lr", 0.01)
    if stage == "align":
        model = ("--model", tiny_model, "--init", "random")
        return (*SHORT, *model, "--data", shapes_data, "--lr", 0.01, "--mirror")
    lora = ("--quantize", "none", "--rank", 4, "--lora-lr", 0.01)
    return (*SHORT, "--from", tiny_seeing_phi, "--data", shapes_data, *lora)


@pytest.fixture
def first(mmtrain, stage, arguments, session_cache, tmp_path) -> Path:
    """Return the folder of a finished run."""
    run = mmtrain(stage, *arguments, "--out", tmp_path / "first", env=session_cache)
    assert run.code == 0, run.err
    return tmp_path / "first"


def read_options(run: Path) -> dict:
    return json.loads((run / "run.json").read_bytes())["options"]


def edit(run: Path, **changes: object) -> Path:
    """Write a changed run.json, with a byte order mark as some editors write it."""
    record = json.loads((run / "run.json").read_bytes())
    record["options"] |= changes
    file = run.parent / "edited.json"
    file.write_text(json.dumps(record), encoding="utf-8-sig")
    return file


@pytest.mark.parametrize(
    ("stage", "rate", "default"),
    [("pretrain", "lr", 1e-3), ("align", "lr", 1e-3), ("finetune", "lora_lr", 2e-4)],
)
def test_a_run_is_repeated_and_options_override_the_file(
    mmtrain, stage, rate, default, first, session_cache, tmp_path
):
    again, changed, edited = (tmp_path / name for name in ("again", "changed", "edited"))
    config = first / "run.json"
    run = mmtrain(stage, "--config", config, "--out", again, env=session_cache)
    assert run.code == 0, run.err
    assert read_metrics(again) == read_metrics(first)
    assert read_options(again) == read_options(first)

    flag = f"--{rate.replace('_', '-')}"
    more = (flag, default, "--out", changed)  # overrides the file although it is the default
    run = mmtrain(stage, "--config", config, *more, env=session_cache)
    assert run.code == 0, run.err
    assert read_options(changed) == read_options(first) | {rate: default}
    assert losses(changed)[0] == losses(first)[0] and losses(changed) != losses(first)

    config = edit(first, **{rate: default})
    run = mmtrain(stage, "--config", config, "--out", edited, env=session_cache)
    assert run.code == 0, run.err
    assert losses(edited) == losses(changed)


def test_an_invalid_run_json_is_refused(mmtrain, tmp_path):
    file = tmp_path / "run.json"
    for content, message in (
        ("[]", "is not a JSON object"),
        ('{"stage": "align"}', "has no options"),
        ('{"options": {}}', "has no stage"),
        ('{"stage": "align", "options": {"stepz": 3}}', "stepz: there is no such option"),
        ('{"stage": "align", "options": {"steps": "3"}}', "steps: Input should be a valid integer"),
        ('{"stage": "align", "options": {"steps": 0}}', "steps: Input should be greater than"),
        ('{"stage": "align", "options": {"mirror": 1}}', "mirror: Input should be a valid boolean"),
        ('{"stage": "align", "options": {"init": "x"}}', "init: Input should be 'concepts', "),
        ('{"stage": "align", "options": {"data": [3]}}', "data.0: "),
    ):
        file.write_text(content)
        run = mmtrain("align", "--config", file, "--out", tmp_path / "out")
        assert (run.code, run.out) == (4, ""), run.err
        error = run.err.splitlines()[0]
        assert error.startswith(f"error: {file}") and message in error, run.err
        assert "Traceback" not in run.err
        assert not (tmp_path / "out").exists()


def test_options_that_contradict_the_file_are_refused(mmtrain, tmp_path):
    file = tmp_path / "run.json"
    file.write_text('{"stage": "align", "options": {}}')
    run = mmtrain("pretrain", "--config", file)
    assert run.code == 2 and f"hint: mmtrain align --config {file}" in run.err, run.err
    run = mmtrain("align", "--config", file, "--resume", "auto")
    assert run.code == 2 and "leave one of the two out" in run.err, run.err
    run = mmtrain("align", "--config", file, "--out", tmp_path)
    assert run.code == 2 and "already contains a run" in run.err, run.err
    assert mmtrain("align", "--config", tmp_path / "missing.json").code == 4
