"""Commands write into new folders and over regular files, and replace nothing else."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from mmtrain.cli.data import app
from mmtrain.data import coco2017
from mmtrain.evaluation.scores import Prediction, write_predictions
from mmtrain.export import checkpoint
from mmtrain.export.gguf import export_gguf
from mmtrain.recipes.mix import mix
from mmtui.errors import InputError, MmtuiError, UsageError
from mmtui.files import check_destination
from mmtui.pipeline.assets.fetch import ignore_progress


@pytest.fixture(params=["file", "pipe", "link"])
def place(request, tmp_path: Path) -> Path:
    """Return a path that is not a folder and must not be changed."""
    path = tmp_path / "place.json"
    if request.param == "file":
        path.write_text("precious")
    elif request.param == "pipe":
        os.mkfifo(path)
    else:
        (tmp_path / "target").write_text("precious")
        path.symlink_to(tmp_path / "target")
    return path


def test_an_existing_path_is_not_replaced_with_a_folder(place, tiny_model):
    before = place.lstat()
    for command in (
        lambda: app(["shapes", "--out", str(place)], standalone_mode=False),
        lambda: app(["mix", "--out", str(place), "--captions", "."], standalone_mode=False),
        lambda: coco2017.fetch(place, ignore_progress),
        lambda: checkpoint.export(tiny_model, str(place)),
        lambda: export_gguf(str(tiny_model), place, "f16"),
    ):
        with pytest.raises(UsageError, match=r"place.json is not a folder"):
            command()
    assert place.lstat().st_ino == before.st_ino


def test_a_file_replaces_only_a_regular_file(place, tmp_path):
    prediction = Prediction("a", "b", ["c"], 1.0)
    if place.is_file() and not place.is_symlink():
        write_predictions([prediction], place)
        assert '"prediction": "b"' in place.read_text()
        return
    before = place.lstat()
    for command in (
        lambda: write_predictions([prediction], place),
        lambda: app(["chats", "--out", str(place), "--model", "nowhere"], standalone_mode=False),
        lambda: check_destination(place),
    ):
        with pytest.raises(InputError, match=r"place\.json is a"):
            command()
    assert place.lstat().st_ino == before.st_ino
    if place.is_symlink():
        assert (tmp_path / "target").read_text() == "precious"


def test_a_file_in_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(MmtuiError, match="no is not a folder"):
        check_destination(tmp_path / "no" / "file.png")


def test_lone_surrogates_are_replaced_when_json_is_written(tmp_path):
    text = " ".join(["lone \ud800 surrogate", *(f"word{n}" for n in range(200))])
    (tmp_path / "text.jsonl").write_text(json.dumps({"text": text}) + "\n")
    (tmp_path / "rows").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "rows" / "0.png")
    turns = [
        {"from": "human", "value": "<image>\nWhat is it?"},
        {"from": "gpt", "value": "A lone \ud800 surrogate."},
    ]
    rows = [{"id": "0", "image": "0.png", "conversations": turns}]
    (tmp_path / "rows" / "rows.json").write_text(json.dumps(rows))
    mix([], [tmp_path / "rows" / "rows.json"], [tmp_path / "text.jsonl"], tmp_path / "out", seed=1)
    written = [file.read_text("utf-8") for file in (tmp_path / "out").glob("*.json")]
    assert any("A lone ? surrogate." in text for text in written)
