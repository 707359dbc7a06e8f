"""Errors of users are reported in one line before training, and leave no files."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmtui.pipeline.assets import checkpoint


def assert_error(run, code: int, error: str, hint: str | None = None) -> None:
    """Check the exit code, the error and the hint of a command, and that it has no output."""
    assert (run.code, run.out) == (code, ""), run.err
    assert error in run.err, run.err
    assert "Traceback" not in run.err
    if hint:
        assert f"hint: {hint}" in run.err, run.err


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Write 40 images of one colour each, with a caption."""
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    (root / "train2017").mkdir()
    for n in range(40):
        Image.new("RGB", (20, 20), (6 * n, 0, 0)).save(root / "train2017" / f"{n}.png")
    document = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in range(40)],
        "annotations": [{"image_id": n, "caption": f"Red {n}."} for n in range(40)],
    }
    (root / "annotations" / "captions_train2017.json").write_text(json.dumps(document))
    return root


def test_too_many_broken_images_are_refused_before_training(
    mmtrain, coco, tiny_model, session_cache
):
    for n in range(4):
        (coco / "train2017" / f"{9 * n}.png").write_bytes(b"broken")
    out = coco.parent / "out"
    arguments = ("--model", tiny_model, "--data", coco, "--steps", 2, "--init", "random")
    run = mmtrain("align", *arguments, "--out", out, env=session_cache)
    assert_error(run, 4, "4 of 40 images are broken")
    assert not out.exists()


def test_a_few_broken_images_are_skipped_with_a_note(
    mmtrain, shapes_data, tiny_model, session_cache, tmp_path
):
    data = tmp_path / "data"
    shutil.copytree(shapes_data, data)
    document = json.loads((data / "annotations" / "captions_train2017.json").read_bytes())
    for n in range(150):  # one of this many images may be broken
        document["images"].append({"id": 1000 + n, "file_name": f"more{n}.png"})
        document["annotations"].append({"image_id": 1000 + n, "caption": "A red circle."})
        Image.new("RGB", (8, 8), (n, n, 0)).save(data / "train2017" / f"more{n}.png")
    (data / "train2017" / "more149.png").write_bytes(b"broken")
    (data / "annotations" / "captions_train2017.json").write_text(json.dumps(document))
    arguments = ("--model", tiny_model, "--data", data, "--steps", 2, "--init", "random")
    run = mmtrain("align", *arguments, "--batch", 2, "--out", tmp_path / "out", env=session_cache)
    assert run.code == 0, run.err
    assert "skipped 1 broken images and 1 examples with them" in run.err


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{", "is cut off"),
        ("{}", "must be a list of rows"),
        ("[]", "has no row to train on"),
        ('[{"a": 1}]', "has no row to train on"),
        ('[{"image": "gone.jpg", "conversations": [{"from": "human", "value": "q"},'
         ' {"from": "gpt", "value": "a"}]}]', "1 of the 1 image that"),
    ],
)  # fmt: skip
def test_a_file_without_usable_rows_is_refused(
    mmtrain, tiny_seeing_phi, session_cache, tmp_path, content, error
):
    (tmp_path / "rows.json").write_text(content)
    arguments = ("--from", tiny_seeing_phi, "--data", tmp_path / "rows.json", "--quantize", "none")
    run = mmtrain("finetune", *arguments, "--out", tmp_path / "out", env=session_cache)
    assert_error(run, 4, error)
    assert not (tmp_path / "out").exists()


def test_an_unknown_layout_is_refused(mmtrain, tiny_model, session_cache, tmp_path):
    run = mmtrain("align", "--model", tiny_model, "--data", tmp_path, env=session_cache)
    assert_error(
        run,
        4,
        f"{tmp_path} contains no data in a layout that mmtrain knows",
        "use annotations/captions_",
    )
    run = mmtrain("align", "--model", tiny_model, "--data", tmp_path / "no", env=session_cache)
    assert_error(run, 4, "does not exist")


def test_finetune_warns_about_a_model_that_is_not_aligned(
    mmtrain, tiny_model, shapes_data, session_cache, tmp_path
):
    arguments = ("--from", tiny_model, "--data", shapes_data, "--quantize", "none", "--dry-run")
    run = mmtrain("finetune", *arguments, "--out", tmp_path / "out", env=session_cache)
    assert run.code == 0 and "NOT ALIGNED: tiny has no projector" in run.err, run.err
    assert_error(mmtrain("finetune", "--from", "nowhere"), 2, "nowhere is not a folder")
    assert_error(mmtrain("finetune", "--from", "a", "--model", "b"), 2, "--from and --model")


def test_a_projector_of_another_shape_is_refused_before_training(
    mmtrain, tiny_phi, tiny_vision, shapes_data, session_cache, tmp_path
):
    from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec

    spec = ModelSpec("odd", LanguageSpec(Asset(str(tiny_phi)), "fp32"), tiny_vision)
    checkpoint.write(tmp_path / "odd", spec, torch.nn.Linear(100, 64).state_dict())
    arguments = ("--from", tmp_path / "odd", "--data", shapes_data, "--quantize", "none")
    run = mmtrain("finetune", *arguments, "--out", tmp_path / "out", env=session_cache)
    assert_error(
        run, 4, "this vision tower and this language model need", "the checkpoint belongs to"
    )


def test_a_folder_with_files_is_not_overwritten(
    mmtrain, tiny_model, shapes_data, session_cache, tmp_path
):
    (tmp_path / "thesis.txt").write_text("years")
    arguments = ("--model", tiny_model, "--data", shapes_data, "--init", "random", "--steps", 2)
    run = mmtrain("align", *arguments, "--out", tmp_path, env=session_cache)
    assert_error(run, 2, f"{tmp_path} already contains files", "choose another --out")
    out = tmp_path / "run"
    assert mmtrain("align", *arguments, "--out", out, env=session_cache).code == 0
    run = mmtrain("align", *arguments, "--out", out, env=session_cache)
    assert_error(run, 2, "already contains a run", f"continue it with --resume {out}")
    run = mmtrain("align", *arguments, "--lr", 0.5, "--resume", out, env=session_cache)
    assert_error(run, 2, f"the run in {out} was started with other options: --lr was")
    run = mmtrain("align", *arguments, "--resume", tmp_path / "no", env=session_cache)
    assert_error(run, 2, "contains no run")


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    mmtrain, tiny_model, shapes_data, session_cache, tmp_path
):
    out = tmp_path / "out"
    arguments = ("--model", tiny_model, "--data", shapes_data, "--init", "random")
    run = mmtrain("align", *arguments, "--out", out, "--dry-run", env=session_cache)
    assert run.code == 0, run.err
    for text in ("8,256 trained", "rows", "steps", "GiB", "batches", "loss"):
        assert text in run.err
    assert not out.exists()


def test_without_data_generated_shapes_are_used_with_a_warning(
    mmtrain, tiny_model, session_cache, tmp_path, monkeypatch
):
    monkeypatch.setattr("mmtrain.data.loading.SYNTHETIC_IMAGES", 60)
    arguments = ("--model", tiny_model, "--init", "random", "--dry-run", "--out", tmp_path / "out")
    run = mmtrain("align", *arguments, env=session_cache)
    assert run.code == 0 and "NO REAL DATA" in run.err, run.err
    run = mmtrain("align", *arguments, env={**session_cache, "MMTRAIN_DATA": str(tmp_path)})
    assert f"MMTRAIN_DATA can't be used: {tmp_path} contains no data" in run.err


def test_a_loss_that_is_not_finite_is_reported_with_its_step_and_samples(
    mmtrain, tiny_seeing_phi, shapes_data, session_cache, tmp_path
):
    arguments = ("--from", tiny_seeing_phi, "--data", shapes_data, "--quantize", "none")
    rates = ("--lora-lr", 1e30, "--projector-lr", 1e30, "--clip", 1e30, "--warmup", 0)
    run = mmtrain("finetune", *arguments, *rates, "--out", tmp_path / "out", env=session_cache)
    assert_error(
        run, 1, "loss nan" if "loss nan" in run.err else "gradient norm", "look at these samples"
    )
    assert "error: step " in run.err and " in 0000000" in run.err


@pytest.mark.parametrize("quantize", ["nf4", "none"])
def test_gradient_checkpointing_does_not_change_the_losses(
    mmtrain, tiny_seeing_phi, shapes_data, session_cache, tmp_path, quantize
):
    """Include 4-bit weights and Phi, which transformers declares not to support it."""
    results = []
    for more in ([], ["--checkpointing"]):
        out = tmp_path / f"out{len(more)}"
        run = mmtrain(
            "finetune", "--from", tiny_seeing_phi, "--data", shapes_data, "--quantize", quantize,
            "--dropout", 0, "--steps", 3, "--batch", 2, "--precision", "fp32", "--rank", 4,
            "--out", out, *more, env=session_cache,
        )  # fmt: skip
        assert run.code == 0, run.err
        results.append([json.loads(line) for line in (out / "metrics.jsonl").open()])
    for plain, checkpointed in zip(*results, strict=True):
        assert checkpointed.get("loss", 0) == pytest.approx(plain.get("loss", 0), rel=1e-4)
    adapter = checkpoint.read(tmp_path / "out1").adapter
    config = json.loads((adapter / "adapter_config.json").read_bytes())
    assert config["base_model_name_or_path"] is None  # no path of this machine


def test_an_exported_run_is_about_half_as_large_and_answers(
    mmtrain, installed_mmtrain, mmtui, tiny_model, shapes_data, session_cache, tmp_path
):
    out, exported = tmp_path / "out", tmp_path / "model"
    arguments = ("--model", tiny_model, "--data", shapes_data, "--init", "random", "--steps", 2)
    assert mmtrain("align", *arguments, "--out", out, env=session_cache).code == 0
    assert installed_mmtrain("export", out, exported).code == 0
    assert {path.name for path in exported.iterdir()} == {"spec.json", "projector.safetensors"}
    sizes = [(folder / "projector.safetensors").stat().st_size for folder in (out, exported)]
    assert sizes[1] < 0.6 * sizes[0]
    picture = next((shapes_data / "val2017").iterdir())
    answer = mmtui("ask", "--model", exported, "--image", picture, "--max-tokens", 3)
    assert answer.code == 0, answer.err
    assert_error(mmtrain("export", shapes_data, tmp_path / "x"), 4, "is not a checkpoint")


def test_the_curves_of_several_runs_are_drawn_in_one_plot(
    mmtrain, installed_mmtrain, tiny_model, shapes_data, session_cache, tmp_path
):
    arguments = ("--model", tiny_model, "--data", shapes_data, "--steps", 2)
    for kind in ("linear", "mlp"):
        out = tmp_path / kind
        more = ("--projector", kind, "--init", "ridge", "--out", out)
        run = mmtrain("align", *arguments, *more, env=session_cache)
        assert run.code == 0, run.err
    drawn = tmp_path / "both.png"
    run = installed_mmtrain("plot", tmp_path / "linear", tmp_path / "mlp", "--out", drawn)
    assert run.code == 0 and Image.open(drawn).size[0] > 500
    assert_error(mmtrain("plot", tmp_path), 4, "has no readable metrics.jsonl")
