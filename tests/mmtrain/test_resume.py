"""A run resumes with its recorded options, and can be made longer."""

import json
import shutil
import stat
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from mmtrain.options import AlignOptions, FinetuneOptions
from mmtrain.run import folder, launch, loop
from mmtui.errors import InputError, UsageError
from mmtui.pipeline.assets import checkpoint


@pytest.fixture
def options(tiny_model, shapes_data) -> AlignOptions:
    return AlignOptions(
        model=str(tiny_model),
        data=[shapes_data],
        init="random",
        precision="fp32",
        steps=3,
        batch=4,
        eval_every=100,
        val_limit=4,
    )


@pytest.fixture
def finished(options, train, tmp_path) -> Path:
    """A run that is finished."""
    train(options, tmp_path / "run")
    return tmp_path / "run"


def read_record(run: Path) -> dict:
    return json.loads((run / folder.RECORD).read_bytes())


def read_lines(run: Path) -> list[str]:
    return (run / "metrics.jsonl").read_text().splitlines()


def list_states(run: Path) -> list[int]:
    return sorted(int(path.name) for path in (run / "state").glob("[0-9]*"))


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop as if the process were killed: nothing is saved or removed."""
    original = loop.Loop._step

    def step_or_die(self, number: int, *arguments) -> tuple:
        if number == step:
            raise ConnectionResetError("killed")
        return original(self, number, *arguments)

    monkeypatch.setattr(loop.Loop, "_step", step_or_die)


def test_the_record_has_the_origin_of_a_run(finished, options, tiny_model):
    record = read_record(finished)
    assert record["command"].split()[0] == "mmtrain"
    assert datetime.fromisoformat(record["date"]).utcoffset().total_seconds() == 0
    assert {"mmtui", "python", "torch", "transformers", "peft", "bitsandbytes"} <= set(
        record["versions"]
    )
    assert len(record["checkpoint_sha256"]) == 64
    recorded = record["options"]
    assert recorded["optimizer"] == "adamw" and recorded["model"] == str(tiny_model)
    assert recorded == folder.options_to_json(replace(options, optimizer="adamw"))


def test_resuming_a_finished_run_reports_that_it_is_finished(finished, train, monkeypatch, capsys):
    monkeypatch.setattr(launch, "_build", None)
    train(AlignOptions(), finished, resume="auto")
    assert (
        "is finished: 3 of 3 steps are taken; a larger --steps prolongs it"
        in capsys.readouterr().err
    )


def test_a_longer_run_keeps_its_other_options(finished, options, train, monkeypatch, tmp_path):
    """Only --steps is explicit; being killed in between changes nothing."""
    before = read_lines(finished)
    killed = shutil.copytree(finished, tmp_path / "killed")
    train(AlignOptions(steps=7, batch=16), finished, resume="auto", explicit=("steps",))
    assert read_lines(finished)[: len(before)] == before
    assert read_record(finished)["options"]["steps"] == 7
    assert read_record(finished)["options"]["batch"] == 4
    assert len(read_record(finished)["resumed"]) == 1

    with monkeypatch.context() as patched, pytest.raises(ConnectionResetError):
        stop_after(5, patched)
        train(
            AlignOptions(steps=7, save_every=1), killed, resume="auto",
            explicit=("steps", "save_every"),
        )  # fmt: skip
    train(AlignOptions(), killed, resume=str(killed))
    assert read_lines(killed) == read_lines(finished)
    weights = [(run / "projector.safetensors").read_bytes() for run in (finished, killed)]
    assert weights[0] == weights[1]


def test_a_run_can_not_be_made_shorter(finished, train):
    with pytest.raises(UsageError, match="has taken 3 steps already"):
        train(AlignOptions(steps=2), finished, resume="auto", explicit=("steps",))


def test_options_that_change_training_are_refused_by_name(finished, train):
    changed = AlignOptions(lr=0.5, batch=2, mirror=True, eval_every=7, seed=0)
    explicit = ("lr", "batch", "mirror", "eval_every", "seed")
    with pytest.raises(UsageError) as raised:
        train(changed, finished, resume="auto", explicit=explicit)
    message = str(raised.value)
    for part in ("--lr was 0.001, is 0.5", "--batch was 4, is 2", "--mirror was off, is on"):
        assert part in message
    assert "eval" not in message and "seed" not in message


def test_options_that_do_not_change_training_can_change(
    finished, train, tmp_path, shapes_data, tiny_model
):
    """The data and the model may be in other folders as well."""
    data = shutil.copytree(shapes_data, tmp_path / "elsewhere" / "data")
    model = shutil.copytree(tiny_model, tmp_path / "elsewhere" / "model")
    changed = AlignOptions(
        steps=4, eval_every=1, save_every=1, val_limit=2, save_minutes=0, data=[data],
        model=str(model),
    )  # fmt: skip
    explicit = ("steps", "eval_every", "save_every", "val_limit", "save_minutes", "data", "model")
    train(changed, finished, resume="auto", explicit=explicit)
    assert list_states(finished)[-1] == 4
    assert read_record(finished)["options"]["data"] == [str(data)]


def test_another_model_or_stage_is_refused(finished, train, tiny_seeing_phi):
    other = AlignOptions(model=str(tiny_seeing_phi), steps=5)
    with pytest.raises(UsageError, match="is not the model that the run in"):
        train(other, finished, resume="auto", explicit=("model", "steps"))
    with pytest.raises(UsageError, match="is a run of align, not of finetune"):
        train(FinetuneOptions(), finished, resume="auto")


@pytest.mark.parametrize("damaged", ["{", "[]", '{"stage": "align", "options": {"steps": "x"}}'])
def test_a_damaged_record_is_reported(finished, train, damaged):
    (finished / folder.RECORD).write_text(damaged)
    with pytest.raises(InputError, match=r"run\.json"):
        train(AlignOptions(), finished, resume="auto")


def test_a_model_is_saved_before_the_first_step(options, train, monkeypatch, tmp_path):
    stop_after(0, monkeypatch)
    with pytest.raises(ConnectionResetError):
        train(options, tmp_path / "run")
    assert checkpoint.read(tmp_path / "run").can_see
    assert list_states(tmp_path / "run") == [0]


def test_a_run_is_also_saved_after_some_minutes(options, train, monkeypatch, tmp_path):
    stop_after(2, monkeypatch)
    with pytest.raises(ConnectionResetError):
        train(replace(options, save_minutes=1e-9), tmp_path / "run")
    assert list_states(tmp_path / "run") == [1, 2]


def test_an_adapter_is_trained_further_with_its_rank(tiny_seeing_phi, shapes_data, train, tmp_path):
    options = FinetuneOptions(
        model=str(tiny_seeing_phi), data=[shapes_data / "llava_instruct.json"],
        images=shapes_data / "train2017", quantize="none", rank=3, alpha=5, steps=1, batch=2,
        accumulation=1, val_limit=0,
    )  # fmt: skip
    first, second = tmp_path / "first", tmp_path / "second"
    train(options, first)
    assert stat.S_IMODE((first / "adapter").stat().st_mode) & 0o055 == 0o055
    further = replace(options, model=str(first), rank=None, alpha=None, dropout=0.25)
    train(further, second)
    adapter = json.loads((second / "adapter" / "adapter_config.json").read_bytes())
    assert (adapter["r"], adapter["lora_alpha"], adapter["lora_dropout"]) == (3, 5, 0.25)
    recorded = read_record(second)["options"]
    assert (recorded["rank"], recorded["alpha"], recorded["dropout"]) == (3, 5, 0.25)
    for changed, message in (
        ({"rank": 128}, "--rank 128 does not fit: the adapter of this model has 3"),
        ({"alpha": 16}, "--alpha 16 does not fit: the adapter of this model has 5"),
    ):
        with pytest.raises(UsageError, match=message):
            train(replace(further, **changed), tmp_path / "third")


def test_the_speed_counts_only_tokens_and_time_of_training(options, train, monkeypatch, tmp_path):
    """Use a clock that only advances by a second in each step and by an hour in validation."""
    now, speeds = [0.0], []

    class Clock:
        perf_counter = staticmethod(lambda: now[0])
        monotonic = staticmethod(lambda: 0.0)

    def advance(method: str, seconds: float) -> None:
        original = getattr(loop.Loop, method)

        def slow(self, *arguments):
            now[0] += seconds
            return original(self, *arguments)

        monkeypatch.setattr(loop.Loop, method, slow)

    advance("_step", 1.0)
    advance("_evaluate", 3600.0)
    monkeypatch.setattr(loop, "time", Clock)
    monkeypatch.setattr(loop.RunConsole, "show_step", lambda *values: speeds.append(values[2]))
    batches = []
    counted = loop.count_tokens
    monkeypatch.setattr(
        loop,
        "count_tokens",
        lambda batch: batches.append((batch, counted(batch))) or batches[-1][1],
    )
    train(replace(options, eval_every=1), tmp_path / "run")
    assert speeds == [count for _, count in batches]
    for batch, count in batches:
        assert count == sum(len(row) for row in batch.sequences) <= batch.labels.numel()


def test_steps_launched_ahead_are_the_same_steps(finished, options, train, monkeypatch, tmp_path):
    """As with a GPU, batches come from another process, and losses are read one step later."""
    monkeypatch.setattr(loop, "is_asynchronous", lambda _: True)
    options = replace(options, save_every=2)
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(ConnectionResetError):
            train(options, tmp_path / "ahead")
    train(options, tmp_path / "ahead", resume="auto")
    assert read_lines(tmp_path / "ahead") == read_lines(finished)
