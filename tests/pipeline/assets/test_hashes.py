"""Hashes of files and their cache."""

import hashlib
import os
from pathlib import Path

import pytest

from mmtui.pipeline.assets import hashes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    return path


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose hashes were computed instead of taken from the cache."""
    read: list[Path] = []
    compute = hashes.compute
    monkeypatch.setattr(hashes, "compute", lambda path: read.append(path) or compute(path))
    return read


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_hash_is_computed_once(cache, file, read_files):
    assert hashes.get(file) == hashes.get(file) == sha256(b"old")
    assert read_files == [file]


def test_a_changed_file_is_read_again_although_its_modification_time_is_restored(cache, file):
    hashes.get(file)
    before = file.stat()
    file.write_bytes(b"new")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert hashes.get(file) == sha256(b"new")


def test_many_files_are_hashed_and_missing_ones_left_out(cache, tmp_path, file, read_files):
    others = [tmp_path / str(number) for number in range(50)]
    for path in others:
        path.write_text(path.name)
    known = hashes.get_many([file, tmp_path / "missing", *others])
    assert known == {path: sha256(path.read_bytes()) for path in (file, *others)}
    read_files.clear()
    assert hashes.get_many(others) == {path: known[path] for path in others}
    assert not read_files


def test_a_missing_file_is_an_error(cache, tmp_path):
    with pytest.raises(FileNotFoundError):
        hashes.get(tmp_path / "missing")


def test_a_damaged_store_is_replaced(cache, file, read_files):
    hashes.get(file)
    (store,) = cache.rglob("*.sqlite")
    store.write_bytes(b"damaged" * 1000)
    assert hashes.get(file) == hashes.get(file) == hashes.get(file) == sha256(b"old")
    assert len(read_files) == 2


def test_without_a_writable_cache_hashes_are_computed_each_time(tmp_path, file, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    assert hashes.get(file) == sha256(b"old")
