"""The feature cache has the features of the tower, computed once, after any interruption."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageOps

from mmtrain.data import features
from mmtrain.data.features import FeatureStore
from mmtui.errors import MissingError
from mmtui.pipeline.assets.fetch import ignore_progress
from mmtui.pipeline.assets.spec import VisionSpec
from mmtui.pipeline.vision.tower import VisionTower


@pytest.fixture(scope="module")
def tower(tiny_vision: VisionSpec, tiny_clip: Path) -> VisionTower:
    return VisionTower(tiny_vision, tiny_clip)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    torch.manual_seed(0)
    files = [tmp_path / f"{n}.png" for n in range(40)]
    for file in files:
        noise = torch.randint(0, 255, (50, 70, 3), dtype=torch.uint8).numpy()
        Image.fromarray(noise).save(file)
    return files


def fail_to_load():
    pytest.fail("the tower was loaded")


def test_features_equal_those_of_the_tower(cache, tiny_vision, tower, pictures):
    store = FeatureStore(tiny_vision, lambda: tower, ignore_progress)
    assert store.ensure(pictures, ("plain", "mirrored")) == {}
    images = [Image.open(file).convert("RGB") for file in pictures]
    for view, inputs in (("plain", images), ("mirrored", list(map(ImageOps.mirror, images)))):
        expected = tower.encode(inputs)
        found = torch.stack([store[store.get_key(file, view)] for file in pictures])
        assert found.dtype == torch.float16
        assert torch.allclose(found.float(), expected, atol=2e-3)


def test_a_copy_or_a_new_run_does_not_load_the_tower(cache, tiny_vision, tower, pictures):
    FeatureStore(tiny_vision, lambda: tower, ignore_progress).ensure(pictures)
    copy = pictures[0].with_name("copy.png")
    copy.write_bytes(pictures[0].read_bytes())
    again = FeatureStore(tiny_vision, fail_to_load, ignore_progress)
    again.ensure([*pictures, copy])
    assert again.get_key(copy) == again.get_key(pictures[0])
    pictures[0].write_bytes(pictures[1].read_bytes())
    changed = FeatureStore(tiny_vision, fail_to_load, ignore_progress)
    changed.ensure(pictures[:2])
    assert changed.get_key(pictures[0]) == changed.get_key(pictures[1])


def test_another_version_of_the_preprocessing_computes_the_features_again(
    cache, tiny_vision, tower, pictures, monkeypatch
):
    FeatureStore(tiny_vision, lambda: tower, ignore_progress).ensure(pictures[:4])
    monkeypatch.setattr(features, "PREPROCESSING_VERSION", features.PREPROCESSING_VERSION + 1)
    encoded: list[int] = []
    store = FeatureStore(tiny_vision, lambda: tower, lambda *step: encoded.append(step[1]))
    store.ensure(pictures[:4])
    assert encoded[-1] == 4


def test_a_missing_tower_is_reported(cache, tiny_vision, tmp_path):
    missing = replace(tiny_vision, weights=replace(tiny_vision.weights, uri=str(tmp_path / "gone")))
    with pytest.raises(MissingError, match="gone is missing or damaged"):
        FeatureStore(missing, fail_to_load, ignore_progress)


def test_an_interruption_loses_at_most_one_shard_and_changes_no_feature(
    cache, tiny_vision, tower, pictures, monkeypatch
):
    monkeypatch.setattr(features, "SHARD", 16)
    calls = 0

    def interrupted(step: str, done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if done >= 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FeatureStore(tiny_vision, lambda: tower, interrupted).ensure(pictures)
    store = FeatureStore(tiny_vision, lambda: tower, ignore_progress)
    totals: list[int] = []
    monkeypatch.setattr(store, "_report", lambda *step: totals.append(step[2]))
    store.ensure(pictures)
    assert set(totals) == {8}  # of 40: two shards of 16 were kept
    resumed = {file: store[store.get_key(file)] for file in pictures}

    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent / "other"))
    complete = FeatureStore(tiny_vision, lambda: tower, ignore_progress)
    complete.ensure(pictures)
    assert all(torch.equal(complete[complete.get_key(file)], resumed[file]) for file in pictures)


def test_a_damaged_shard_is_computed_again(cache, tiny_vision, tower, pictures):
    FeatureStore(tiny_vision, lambda: tower, ignore_progress).ensure(pictures)
    shard = next(cache.rglob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1000])
    store = FeatureStore(tiny_vision, lambda: tower, ignore_progress)
    store.ensure(pictures)
    assert all(store[store.get_key(file)].isfinite().all() for file in pictures)


def test_files_that_are_not_pictures_are_reported_and_the_others_encoded(
    cache, tiny_vision, tower, pictures
):
    pictures[3].write_bytes(b"nothing")
    pictures[5].unlink()
    store = FeatureStore(tiny_vision, lambda: tower, ignore_progress)
    broken = store.ensure(pictures)
    assert set(broken) == {pictures[3], pictures[5]}
    assert "no such file" in str(broken[pictures[5]])
    assert store[store.get_key(pictures[4])].shape == (16, 128)


def test_a_picture_that_changed_with_the_same_time_stamp_is_hashed_again(
    cache, tiny_vision, tower, pictures
):
    store = FeatureStore(tiny_vision, lambda: tower, ignore_progress)
    store.ensure(pictures[:2])
    stamp = pictures[0].stat()
    data = bytearray(pictures[0].read_bytes())
    data[-1] ^= 1
    pictures[0].write_bytes(data)
    os.utime(pictures[0], ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    again = FeatureStore(tiny_vision, lambda: tower, ignore_progress)
    again.ensure(pictures[:2])
    assert again.get_key(pictures[0]) != store.get_key(pictures[0])
    assert again.get_key(pictures[1]) == store.get_key(pictures[1])
