"""A run is repeated from the run.json of another one, through the installed command."""

import json
from pathlib import Path

import pytest
from run_metrics import losses, read_metrics


@pytest.fixture(scope="module")
def arguments(tiny_model: Path, shapes_data: Path) -> tuple:
    return (
        "--model", tiny_model, "--data", shapes_data, "--init", "random", "--precision", "fp32",
        "--steps", 3, "--batch", 4, "--lr", 0.01, "--val-limit", 4, "--mirror",
    )  # fmt: skip


@pytest.fixture
def first(mmtrain, arguments, session_cache, tmp_path) -> Path:
    """A run that is finished."""
    run = mmtrain("align", *arguments, "--out", tmp_path / "first", env=session_cache)
    assert run.code == 0, run.err
    return tmp_path / "first"


def options_of(run: Path) -> dict:
    return json.loads((run / "run.json").read_bytes())["options"]


def edit(run: Path, **changes: object) -> Path:
    """Write another run.json, with a byte order mark, as some editors do."""
    record = json.loads((run / "run.json").read_bytes())
    record["options"] |= changes
    file = run.parent / "edited.json"
    file.write_text(json.dumps(record), encoding="utf-8-sig")
    return file


def test_a_run_is_repeated_and_options_override_the_file(mmtrain, first, session_cache, tmp_path):
    again, changed, edited = (tmp_path / name for name in ("again", "changed", "edited"))
    config = first / "run.json"
    run = mmtrain("align", "--config", config, "--out", again, env=session_cache)
    assert run.code == 0, run.err
    assert read_metrics(again) == read_metrics(first)
    assert options_of(again) == options_of(first)

    more = ("--lr", 0.001, "--out", changed)  # the default, but it is given
    run = mmtrain("align", "--config", config, *more, env=session_cache)
    assert run.code == 0, run.err
    assert options_of(changed) == options_of(first) | {"lr": 0.001}
    assert losses(changed)[0] == losses(first)[0] and losses(changed) != losses(first)

    config = edit(first, lr=0.001)
    run = mmtrain("align", "--config", config, "--out", edited, env=session_cache)
    assert run.code == 0, run.err
    assert losses(edited) == losses(changed)


def test_a_file_that_is_no_record_is_refused(mmtrain, tmp_path):
    file = tmp_path / "run.json"
    for content, says in (
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
        assert error.startswith(f"error: {file}") and says in error, run.err
        assert "Traceback" not in run.err
        assert not (tmp_path / "out").exists()


def test_what_contradicts_the_file_is_refused(mmtrain, tmp_path):
    file = tmp_path / "run.json"
    file.write_text('{"stage": "align", "options": {}}')
    run = mmtrain("pretrain", "--config", file)
    assert run.code == 2 and f"hint: mmtrain align --config {file}" in run.err, run.err
    run = mmtrain("align", "--config", file, "--resume", "auto")
    assert run.code == 2 and "leave one of the two out" in run.err, run.err
    run = mmtrain("align", "--config", file, "--out", tmp_path)
    assert run.code == 2 and "holds a run already" in run.err, run.err
    assert mmtrain("align", "--config", tmp_path / "gone.json").code == 4
