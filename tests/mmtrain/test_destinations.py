"""What a command writes goes into a new folder or over a regular file, and over nothing else."""

import os
from pathlib import Path

import pytest

from mmtrain.cli.data import app
from mmtrain.data import coco2017
from mmtrain.evaluation.scores import Prediction, write_predictions
from mmtrain.export import checkpoint
from mmtrain.recipes import mix
from mmtui.errors import InputError, MmtuiError, UsageError
from mmtui.files import check_destination
from mmtui.pipeline.assets.fetch import ignore_progress


@pytest.fixture(params=["file", "pipe", "link"])
def place(request, tmp_path: Path) -> Path:
    """Something that is no folder, and that must stay as it is."""
    made = tmp_path / "place.json"
    if request.param == "file":
        made.write_text("precious")
    elif request.param == "pipe":
        os.mkfifo(made)
    else:
        (tmp_path / "target").write_text("precious")
        made.symlink_to(tmp_path / "target")
    return made


def test_a_folder_is_not_made_of_what_is_there(place, tiny_model):
    before = place.lstat()
    for command in (
        lambda: app(["shapes", "--out", str(place)], standalone_mode=False),
        lambda: app(["mix", "--out", str(place), "--captions", "."], standalone_mode=False),
        lambda: coco2017.fetch(place, ignore_progress),
        lambda: checkpoint.export(tiny_model, str(place)),
        lambda: checkpoint.export_gguf(str(tiny_model), place, "f16"),
    ):
        with pytest.raises(UsageError, match=r"place.json is not a folder"):
            command()
    assert place.lstat().st_ino == before.st_ino


def test_a_file_is_written_over_a_regular_file_only(place, tmp_path):
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


def test_a_file_in_a_folder_that_is_not_there_is_refused_first(tmp_path):
    with pytest.raises(MmtuiError, match="no is not a folder"):
        check_destination(tmp_path / "no" / "file.png")


def test_text_that_no_encoding_can_write_is_written_without_it(tmp_path):
    mix._write_json(tmp_path / "a.json", ["lone \ud800 surrogate"])
    assert "lone ? surrogate" in (tmp_path / "a.json").read_text("utf-8")
