"""Files that are replaced as a whole."""

import os
from pathlib import Path

import pytest

from mmtui.errors import InputError
from mmtui.files import replacing


def test_the_new_file_takes_the_place_of_the_old_one_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "loss.png"
    file.write_text("old")
    file.chmod(0o640)
    with replacing(file) as aside:
        aside.write_text("new")
        assert file.read_text() == "old"
        assert aside.suffix == ".png"
    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_others_may_read_a_file_that_is_new_if_the_umask_says_so(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with replacing(tmp_path / "new") as aside:
            aside.write_text("new")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o644


def test_what_fails_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    with pytest.raises(OSError), replacing(file) as aside:
        aside.write_text("half")
        raise OSError("the disk is full")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_only_a_regular_file_is_replaced(tmp_path: Path, kind: str) -> None:
    target, place = tmp_path / "target", tmp_path / "place"
    target.write_text("precious")
    if kind == "link":
        place.symlink_to(target)
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    with pytest.raises(InputError, match="place is a"), replacing(place) as aside:
        aside.write_text("new")
    assert target.read_text() == "precious"
    assert sorted(tmp_path.iterdir()) == [place, target]
