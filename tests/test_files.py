"""Files that are replaced atomically, and files that are read."""

import json
import os
from pathlib import Path

import pytest

from mmtui.errors import InputError
from mmtui.files import check_destination, read_json, replacing, without_byte_order_marks


def test_a_new_file_replaces_the_old_one_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "loss.png"
    file.write_text("old")
    file.chmod(0o640)
    with replacing(file) as temporary:
        temporary.write_text("new")
        assert file.read_text() == "old"
        assert temporary.suffix == ".png"
    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with replacing(tmp_path / "new") as temporary:
            temporary.write_text("new")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o644


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    with pytest.raises(OSError), replacing(file) as temporary:
        temporary.write_text("half")
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
    with pytest.raises(InputError, match="place is a"), replacing(place) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "precious"
    assert sorted(tmp_path.iterdir()) == [place, target]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_is_read_with_and_without_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "spec.json"
    file.write_text('{"name": "\u00e9"}', encoding)
    assert read_json(file) == {"name": "\u00e9"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_other_libraries_get_json_without_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "config.json").write_text('{"name": "\u00e9"}', encoding)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    with without_byte_order_marks(tmp_path) as folder:
        assert json.loads((folder / "config.json").read_text("utf-8")) == {"name": "\u00e9"}
        assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert not folder.exists()
    assert (tmp_path / "model.safetensors").read_bytes() == b"weights"


def test_a_folder_without_byte_order_marks_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with without_byte_order_marks(tmp_path) as folder:
        assert folder == tmp_path


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'{"name": "smol"', "is cut off"),
        (b'{"name": smol}', "can't be read as JSON: Expecting value at line 1, column 10"),
        (b"\xff\xfe\xff", "is not UTF-8 text"),
        (b'{"name": "\xe9"}', "is not UTF-8 text: byte 10 is wrong"),
        (b"[" * 100_000, "can't be read as JSON"),
        (b"1" * 5000, "can't be read as JSON"),
    ],
    ids=["empty", "blank", "cut off", "no JSON", "half a character", "Latin-1", "deep", "long"],
)
def test_a_file_without_usable_json_is_named_with_the_reason(
    tmp_path: Path, data: bytes, message: str
) -> None:
    file = tmp_path / "spec.json"
    file.write_bytes(data)
    with pytest.raises(InputError) as refused:
        read_json(file)
    assert str(refused.value).startswith(f"{file} ") and message in str(refused.value)


def test_a_file_that_can_t_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.json can't be read: No such file"):
        read_json(tmp_path / "missing.json")


def test_a_destination_is_checked_before_anything_is_computed(tmp_path: Path) -> None:
    check_destination(tmp_path / "new.json")
    for place in (tmp_path, tmp_path / "missing" / "new.json"):
        with pytest.raises(InputError, match="folder"):
            check_destination(place)
    assert not list(tmp_path.iterdir())
