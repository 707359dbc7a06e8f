"""Plots of runs: formats, names, and destinations."""

import json
import os
import warnings
from pathlib import Path

import pytest
from PIL import Image

from mmtrain.run import plotting
from mmtui.errors import InputError, MmtuiError, UsageError


def write_run(folder: Path) -> Path:
    """Write the metrics of a short run."""
    folder.mkdir(parents=True)
    lines = [{"step": 0, "validation_loss": 3.0}]
    lines += [{"step": step, "loss": 3.0 / step} for step in range(1, 5)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


SIGNATURES = {
    ".png": b"\x89PNG", ".jpg": b"\xff\xd8", ".jpeg": b"\xff\xd8", ".webp": b"RIFF",
    ".svg": b"<?xml", ".pdf": b"%PDF", ".PDF": b"%PDF",
}  # fmt: skip


@pytest.mark.parametrize("ending", SIGNATURES)
def test_a_plot_is_in_the_format_that_its_ending_names(tmp_path, ending):
    plotting.plot([write_run(tmp_path / "run")], tmp_path / f"loss{ending}")
    assert (tmp_path / f"loss{ending}").read_bytes().startswith(SIGNATURES[ending])
    assert set(plotting.SUFFIXES) <= SIGNATURES.keys()


@pytest.mark.parametrize("name", ["loss", "loss.txt", "loss.gif", ".png", "loss.png.exe"])
def test_other_endings_are_refused_before_a_run_is_read(tmp_path, name):
    with pytest.raises(UsageError) as refused:
        plotting.plot([tmp_path / "no run"], tmp_path / name)
    assert ".svg" in str(refused.value.hint) and list(tmp_path.iterdir()) == []


NAMES = ["_first", "$second$", "$third", r"\frac{", "100 % & <b>", "läuft", "$\\bad{$ _x_"]


def test_names_are_shown_as_they_are(tmp_path):
    runs = [write_run(tmp_path / name) for name in NAMES]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plotting.plot(runs, tmp_path / "loss.svg")
        plotting.plot(runs, tmp_path / "loss.png")
    drawn = (tmp_path / "loss.svg").read_text()
    for name in NAMES:  # matplotlib writes each text that it draws as a comment
        written = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert f"<!-- {written} train, smoothed -->" in drawn or f"<!-- {name} train" in drawn


def test_runs_of_the_same_name_are_distinguished_by_their_folders(tmp_path):
    runs = [tmp_path / path for path in ("a/run", "b/run", "b/other", "c/b/run")]
    assert plotting.name_runs(runs) == [
        "a/run", f"{tmp_path.name}/b/run", "other", "c/b/run",
    ]  # fmt: skip
    assert plotting.name_runs(runs[:1]) == [""]


def test_a_long_name_keeps_both_ends(tmp_path):
    long = [tmp_path / f"{'x' * 100}-{n}" for n in range(2)]
    names = plotting.name_runs(long)
    assert [name[-2:] for name in names] == ["-0", "-1"]
    assert all(len(name) <= plotting.NAME_LENGTH for name in names)
    assert plotting.name_runs([tmp_path / "a\nb\x1b", tmp_path / "c"])[0] == "a\\nb"


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_only_a_regular_file_is_replaced(tmp_path, kind):
    run, place = write_run(tmp_path / "run"), tmp_path / "loss.png"
    if kind == "link":
        place.symlink_to("precious")
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    before = place.lstat()
    with pytest.raises(InputError, match=r"loss\.png is a"):
        plotting.plot([run], place)
    assert place.lstat().st_ino == before.st_ino


def test_a_folder_without_metrics_leaves_the_old_plot(tmp_path):
    (tmp_path / "loss.png").write_bytes(b"old")
    with pytest.raises(MmtuiError, match="no readable metrics"):
        plotting.plot([tmp_path], tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes() == b"old"
    plotting.plot([write_run(tmp_path / "run")], tmp_path / "loss.png")
    assert Image.open(tmp_path / "loss.png").format == "PNG"
