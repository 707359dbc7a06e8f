"""`hf:` models in the Hugging Face cache, without a network."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from mmtui.errors import MissingError, UsageError
from mmtui.pipeline.assets import checkpoint, fetch, hashes
from mmtui.pipeline.assets.spec import Asset

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, without access to the hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def store(hub: Path, repository: str, files: Path) -> Path:
    """Add files to the cache like a download of `repository`."""
    entry = hub / f"models--{repository.replace('/', '--')}"
    (entry / "refs").mkdir(parents=True)
    (entry / "refs" / "main").write_text(REVISION)
    return shutil.copytree(files, entry / "snapshots" / REVISION)


def language(repository: str):
    return checkpoint.find(f"hf:{repository}").spec.language.weights


def test_a_repository_in_the_cache_is_found(hub, tiny_phi):
    folder = store(hub, "someone/phi", tiny_phi)
    asset = language("someone/phi")
    assert fetch.locate(asset) == fetch.fetch(asset) == folder


def test_a_repository_with_a_missing_shard_is_incomplete(hub, tiny_phi):
    folder = store(hub, "someone/phi", tiny_phi)
    next(folder.glob("*.safetensors")).unlink()
    asset = language("someone/phi")
    assert fetch.locate(asset) is None
    with pytest.raises(MissingError, match="someone/phi is damaged, incomplete"):
        fetch.fetch(asset)


def link_blobs(hub: Path, folder: Path) -> Path:
    """Replace the large files of a snapshot by links to blobs, as after a download."""
    blobs = folder.parents[1] / "blobs"
    blobs.mkdir()
    for path in folder.glob("*.safetensors"):
        blob = blobs / hashes.compute(path)
        path.rename(blob)
        path.symlink_to(blob)
    return blob


def test_a_damaged_download_is_found_by_its_hash(hub, tiny_llama):
    folder = store(hub, "someone/llama", tiny_llama)
    blob = link_blobs(hub, folder)
    asset = language("someone/llama")
    assert fetch.locate(asset) == folder
    good = blob.read_bytes()
    blob.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert fetch.locate(asset) is None
    with pytest.raises(MissingError):  # it can't be fetched again without a network
        fetch.fetch(asset)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_repository_with_a_missing_file_is_incomplete(hub, tiny_llama, name):
    (store(hub, "someone/llama", tiny_llama) / name).unlink()
    assert fetch.locate(language("someone/llama")) is None


def test_pickled_weights_are_refused(hub, tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    (files / "config.json").write_text("{}")
    (files / "tokenizer.json").write_text("{}")
    (files / "pytorch_model.bin").write_bytes(b"pickle")
    store(hub, "someone/old", files)
    with pytest.raises(MissingError, match="or has no safetensors weights") as error:
        fetch.fetch(language("someone/old"))
    assert "pickled" in error.value.hint


def test_a_missing_repository_without_a_network_is_an_error(hub):
    asset = language("someone/absent")
    assert fetch.locate(asset) is None
    with pytest.raises(MissingError, match="hub can't be reached") as error:
        fetch.fetch(asset)
    assert "smol" in error.value.hint


@pytest.mark.parametrize("name", ["", "a/b/c", "-x-/..", "no spaces/here"])
def test_invalid_repository_names_are_refused(hub, name):
    with pytest.raises(UsageError, match=r"there is no model|is not a repository"):
        fetch.fetch(language(name))


def test_auto_is_phi2_only_if_its_weights_and_projector_exist(hub, tiny_phi, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert checkpoint.find("auto").spec.name == "smol"
    spec = checkpoint.find("phi2").spec
    store(hub, "microsoft/phi-2", tiny_phi)
    tower = tmp_path / "tower"
    tower.mkdir()
    for name in spec.vision.weights.only:
        (tower / name).touch()
    store(hub, spec.vision.weights.uri.removeprefix("hf:"), tower)
    assert checkpoint.find("auto").spec.name == "smol"  # phi2 has no projector

    import torch

    trained = tmp_path / "data" / "mmtui" / "models" / "phi2"
    checkpoint.write(trained, spec, {"weight": torch.zeros(2, 2), "bias": torch.zeros(2)})
    assert checkpoint.find("auto").spec.name == "phi2"
    assert checkpoint.find("phi2").projector == trained / "projector.safetensors"

    monkeypatch.setenv("MMTUI_MODEL", "smol")
    assert checkpoint.find("auto").spec.name == "smol"
    monkeypatch.setenv("MMTUI_MODEL", "gemma3")
    monkeypatch.setenv("MMTUI_ENDPOINT", "http://127.0.0.1:11434/v1")  # has a model gemma3
    assert checkpoint.find("auto").spec.name == "phi2"


def test_all_files_of_a_repository_without_patterns_are_fetched(hub, tiny_llama, monkeypatch):
    folder = store(hub, "someone/llama", tiny_llama)
    patterns = []

    def download(repository: str, *, local_files_only: bool = False, **options: object) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError(repository)
        patterns.append(options["allow_patterns"])
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert fetch.fetch(Asset("hf:someone/llama")) == folder
    assert patterns == [None]
