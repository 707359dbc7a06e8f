"""A minute of align improves smol on generated shapes."""

import pytest
import torch
from run_metrics import read_metrics

from mmtrain.data import shapes
from mmtui.pipeline.assets import checkpoint


@pytest.fixture(scope="module")
def folders(tmp_path_factory, smol):
    data, out = tmp_path_factory.mktemp("learn") / "data", tmp_path_factory.mktemp("learn") / "out"
    shapes.generate(data, 120, seed=1)
    return data, out


def test_a_minute_of_align_beats_the_model_before_it(installed_mmtrain, smol, folders, tmp_path):
    data, out = folders
    run = installed_mmtrain(
        "align", "--model", "smol", "--data", data, "--steps", 24, "--batch", 8, "--lr", 2e-3,
        "--val-limit", 24, "--out", out,
    )  # fmt: skip
    assert run.code == 0, run.err
    losses = [line["validation_loss"] for line in read_metrics(out) if "validation_loss" in line]
    print(f"validation loss {losses[0]:.2f} -> {losses[-1]:.2f}")
    assert losses[-1] < 0.7 * losses[0]

    torch.manual_seed(0)
    untrained = tmp_path / "untrained"
    checkpoint.write(untrained, smol.spec, torch.nn.Linear(1280, 576).state_dict())
    scores = []
    for model in (untrained, out):
        scored = installed_mmtrain(
            "eval", "captions", "--model", model, "--data", data, "--limit", 8, "--json",
            "--sheet", tmp_path / "sheet.png",
        )  # fmt: skip
        assert scored.code == 0, scored.err
        scores.append(scored.json)
    print(f"CIDEr-D {scores[0]['cider_d']:.2f} -> {scores[1]['cider_d']:.2f}")
    assert scores[1]["cider_d"] > scores[0]["cider_d"] + 0.2
    assert scores[1]["loss_per_token"] < 0.6 * scores[0]["loss_per_token"]
