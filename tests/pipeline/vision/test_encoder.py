"""Both vision encoders give the same features and names."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmtui.errors import InputError
from mmtui.pipeline.assets import fetch
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assets.spec import Asset, VisionSpec
from mmtui.pipeline.vision import images, onnx_export
from mmtui.pipeline.vision.loading import load_encoder
from mmtui.pipeline.vision.onnx_encoder import OnnxEncoder, OnnxTower
from mmtui.pipeline.vision.torch_encoder import TorchEncoder
from mmtui.pipeline.vision.tower import VisionTower

SIZES = [(640, 480), (260, 260), (97, 1024), (13, 7)]


def save_projector(path: Path, kind: str, width: int, hidden: int) -> Path:
    from safetensors.torch import save_file

    from mmtui.pipeline.vision import projector

    torch.manual_seed(0)
    save_file(projector.build(kind, width, hidden).state_dict(), path)
    return path


def make_noise(size: tuple[int, int]) -> images.Picture:
    pixels = np.random.default_rng(0).integers(0, 256, (*reversed(size), 3), dtype=np.uint8)
    return images.Picture("sha256", Image.fromarray(pixels))


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("patches", [16, 4])
def test_features_of_a_vit_equal_those_of_torch(tiny_clip, tmp_path, cache, kind, patches):
    half = (0.5, 0.5, 0.5)
    spec = VisionSpec(Asset(str(tiny_clip)), "open_clip", 64, half, half, patches, 128)
    projector = save_projector(tmp_path / "projector.safetensors", kind, 128, 48)
    encoder = load_encoder(spec, projector, 48)
    assert isinstance(encoder, OnnxEncoder)
    reference = TorchEncoder(spec, tiny_clip, projector, 48, device="cpu")
    for size in SIZES:
        encoded, expected = encoder.encode(make_noise(size)), reference.encode(make_noise(size))
        assert encoded.features.shape == (patches, 48)
        assert encoded.features.dtype == np.float32
        np.testing.assert_allclose(encoded.features, expected.features, atol=1e-4)
        assert encoded.names == expected.names == ""


@pytest.mark.parametrize("patches", [16, 4])
def test_a_tower_without_a_projector_equals_that_of_torch(tiny_clip, cache, patches):
    half = (0.5, 0.5, 0.5)
    spec = VisionSpec(Asset(str(tiny_clip)), "open_clip", 64, half, half, patches, 128)
    tower = OnnxTower(spec, onnx_export.export(spec, tiny_clip, None))
    noise = [make_noise(size).image for size in SIZES]
    features = tower.encode(noise)
    assert features.shape == (len(SIZES), patches, 128)
    expected = VisionTower(spec, tiny_clip).encode(noise).numpy()
    np.testing.assert_allclose(features, expected, atol=1e-4)


def test_features_and_names_of_smol_equal_those_of_torch(smol: Checkpoint, shared: Path):
    spec = smol.spec.vision
    encoder = load_encoder(spec, smol.projector, 576)
    assert isinstance(encoder, OnnxEncoder)
    weights = fetch.locate(spec.weights)
    reference = TorchEncoder(spec, weights, smol.projector, 576, device="cpu")
    photos = sorted((shared / "captions").rglob("*.jpg"))[:20]
    assert len(photos) == 20
    for photo in photos:
        picture = images.decode(photo.read_bytes())
        encoded, expected = encoder.encode(picture), reference.encode(picture)
        np.testing.assert_allclose(encoded.features, expected.features, atol=1e-4)
        assert encoded.names == expected.names


def test_a_projector_that_does_not_fit_adds_nothing_to_the_cache(tiny_clip, tmp_path, cache):
    half = (0.5, 0.5, 0.5)
    spec = VisionSpec(Asset(str(tiny_clip)), "open_clip", 64, half, half, 16, 128)
    projector = save_projector(tmp_path / "projector.safetensors", "linear", 128, 47)
    with pytest.raises(InputError, match="this language model need"):
        load_encoder(spec, projector, 48)
    assert not list(fetch.get_cache_folder().glob("converted/*"))


def test_only_another_projector_is_exported_again(tiny_clip, tmp_path, cache):
    half = (0.5, 0.5, 0.5)
    spec = VisionSpec(Asset(str(tiny_clip)), "open_clip", 64, half, half, 16, 128)
    first = save_projector(tmp_path / "first.safetensors", "linear", 128, 48)
    second = save_projector(tmp_path / "second.safetensors", "mlp", 128, 48)
    folder = onnx_export.export(spec, tiny_clip, first, 48)
    written = (folder / onnx_export.MODEL_FILE).stat().st_mtime_ns
    assert onnx_export.export(spec, tiny_clip, first, 48) == folder
    assert (folder / onnx_export.MODEL_FILE).stat().st_mtime_ns == written
    assert onnx_export.export(spec, tiny_clip, second, 48) != folder
    fewer = dataclasses.replace(spec, patches=4)
    assert onnx_export.export(fewer, tiny_clip, first, 48) != folder


def test_a_tower_that_can_t_be_exported_runs_on_torch(tiny_clip, tmp_path, cache, monkeypatch):
    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("unsupported operator")

    monkeypatch.setattr(torch.onnx, "export", fail)
    half = (0.5, 0.5, 0.5)
    spec = VisionSpec(Asset(str(tiny_clip)), "open_clip", 64, half, half, 16, 128)
    projector = save_projector(tmp_path / "projector.safetensors", "linear", 128, 48)
    encoder = load_encoder(spec, projector, 48)
    assert isinstance(encoder, TorchEncoder)
    assert encoder.encode(make_noise((64, 64))).features.shape == (16, 48)


@pytest.mark.parametrize(("patches", "width"), [(5, 128), (25, 128), (16, 64)])
def test_a_spec_that_the_tower_does_not_fit_is_refused(tiny_clip, tmp_path, cache, patches, width):
    half = (0.5, 0.5, 0.5)
    spec = VisionSpec(Asset(str(tiny_clip)), "open_clip", 64, half, half, patches, width)
    projector = save_projector(tmp_path / "projector.safetensors", "linear", width, 48)
    with pytest.raises(InputError, match=r"the tower gives \(16, 128\) patch features"):
        load_encoder(spec, projector, 48)
    assert not list(fetch.get_cache_folder().glob("converted/*"))
