"""Models that other programs have stored."""

import json
import os
import sys
from pathlib import Path

import pytest
from gguf_models import write_gguf, write_mmproj

from mmtui import machine
from mmtui.errors import InputError, MissingError, UsageError
from mmtui.pipeline.assets import checkpoint, inventory, stores
from mmtui.pipeline.assets.gguf_memory import estimate_memory
from mmtui.pipeline.assets.stores import list_stored_models

MODEL = "application/vnd.ollama.image.model"
PROJECTOR = "application/vnd.ollama.image.projector"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty home folder, to which no variable adds other folders."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (
        "OLLAMA_MODELS", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "LLAMA_CACHE",
        "XDG_CACHE_HOME",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def blob(root: Path, number: int) -> Path:
    return root / "blobs" / f"sha256-{number:064x}"


def pull(root: Path, name: str, **layers: int) -> None:
    """Store a model as Ollama does: a manifest, and blobs named by their hashes."""
    manifest = root / "manifests" / name
    manifest.parent.mkdir(parents=True, exist_ok=True)
    kinds = {"model": MODEL, "projector": PROJECTOR, "template": "text/plain"}
    listed = [
        {"mediaType": kinds[kind], "digest": f"sha256:{number:064x}", "size": 1}
        for kind, number in layers.items()
    ]
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": listed}))


@pytest.fixture
def ollama(home: Path) -> Path:
    root = home / ".ollama" / "models"
    write_gguf(blob(root, 1), "qwen2")
    write_gguf(blob(root, 2))
    write_mmproj(blob(root, 3))
    pull(root, "registry.ollama.ai/library/plain/latest", model=1, template=9)
    pull(root, "registry.ollama.ai/library/llava/7b", model=2, projector=3)
    pull(root, "registry.ollama.ai/me/own/x", model=1)
    pull(root, "hf.co/owner/name-GGUF/Q4_K_M", model=1)
    return root


def test_models_of_ollama_are_listed_with_the_names_that_it_uses(ollama):
    found = {model.name: model for model in list_stored_models()}
    assert list(found) == [
        "ollama:hf.co/owner/name-GGUF:Q4_K_M", "ollama:llava:7b", "ollama:me/own:x",
        "ollama:plain:latest",
    ]  # fmt: skip
    llava = found["ollama:llava:7b"]
    assert (llava.can_see, llava.mmproj, llava.files) == (True, blob(ollama, 3), (blob(ollama, 2),))
    assert llava.size == sum(blob(ollama, number).stat().st_size for number in (2, 3))
    assert (llava.quantization, llava.store) == ("F32", "Ollama")
    assert not found["ollama:plain:latest"].can_see
    for name, model in found.items():
        opened = checkpoint.find(name)
        assert opened.spec.name == name
        assert (opened.gguf.shards, opened.gguf.mmproj) == (model.files, model.mmproj)


def test_names_of_ollama_are_completed(ollama, monkeypatch, tmp_path):
    assert checkpoint.find("ollama:plain").gguf.shards == (blob(ollama, 1),)
    with pytest.raises(MissingError, match="Ollama has no model llava here") as error:
        checkpoint.find("ollama:llava")
    assert error.value.hint.startswith("ollama pull llava; here: ollama:hf.co/")
    for name in ("", "../../x", "a/b/c/d/e", "a:b:c", "a b", "/etc/passwd"):
        with pytest.raises(UsageError, match="is no name of a model of Ollama"):
            checkpoint.find(f"ollama:{name}")
    chosen = write_mmproj(tmp_path / "other.gguf")
    found = checkpoint.find(f"ollama:plain --mmproj {chosen}")
    assert found.gguf.mmproj == chosen
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "elsewhere"))
    assert list_stored_models() == []
    with pytest.raises(MissingError, match="no model plain here") as error:
        checkpoint.find("ollama:plain")
    assert error.value.hint.endswith("here: none")


@pytest.mark.parametrize(
    "manifest",
    [
        b"", b"{", b"[1]", b'{"layers": 7}', b'{"layers": [7, null, {}]}', b"\xff\xfe",
        b"[" * 100_000,
        json.dumps({"layers": [{"mediaType": MODEL, "digest": "sha256:../../../secret"}]}).encode(),
        json.dumps({"layers": [{"mediaType": [], "digest": {"a": 1}}]}).encode(),
        json.dumps({"layers": [{"mediaType": MODEL, "digest": f"sha256:{7:064x}"}]}).encode(),
        b'{"layers": []}' + b" " * 2_000_000,
    ],
)  # fmt: skip
def test_a_hostile_manifest_is_left_out(ollama, manifest):
    file = ollama / "manifests/registry.ollama.ai/library/evil/latest"
    file.parent.mkdir()
    file.write_bytes(manifest)
    (ollama / "manifests/registry.ollama.ai/library/\x1b[2Jname").mkdir()
    (ollama / "manifests/registry.ollama.ai/library/\x1b[2Jname/latest").write_bytes(manifest)
    assert len(list_stored_models()) == 4
    with pytest.raises(MissingError):
        checkpoint.find("ollama:evil")


def test_a_model_with_its_tower_in_the_same_file_is_refused(ollama):
    path = write_gguf(blob(ollama, 4), "qwen2")
    path.write_bytes(path.read_bytes().replace(b"output_norm.weight", b"v.put_norm.weight_"))
    pull(ollama, "registry.ollama.ai/library/gemma3/latest", model=4)
    with pytest.raises(InputError, match=r"ollama:gemma3 has its vision tower in the same file"):
        checkpoint.find("ollama:gemma3")


def test_a_model_of_another_format_is_refused(ollama):
    blob(ollama, 4).write_bytes(b"PK\3\4 no GGUF")
    pull(ollama, "registry.ollama.ai/library/new/latest", model=4)
    with pytest.raises(InputError, match=r"ollama:new is not a GGUF") as error:
        checkpoint.find("ollama:new")
    assert "--endpoint" in error.value.hint


def test_links_and_names_that_lead_nowhere_are_left_out(home):
    folder = home / ".lmstudio/models/publisher/repository"
    write_gguf(folder / "model-Q4_0.gguf")
    (folder / "self").symlink_to(folder)
    (folder.parent / "up").symlink_to("..")
    (folder / "a.gguf").symlink_to("b.gguf")
    (folder / "b.gguf").symlink_to("a.gguf")
    (folder / "gone.gguf").symlink_to("nowhere")
    (folder / "gone-mmproj.gguf").symlink_to("nowhere")
    (folder / "folder.gguf").mkdir()
    os.mkfifo(folder / "pipe.gguf")
    write_gguf(folder / "split.gguf", tensors_per_file=10)
    (folder / "split-00002-of-00003.gguf").unlink()
    snapshots = home / ".cache/huggingface/hub/models--owner--name/snapshots"
    (snapshots / "abc").mkdir(parents=True)
    (snapshots / "abc/loop").symlink_to("..")
    (snapshots / "abc/gone-Q4_0.gguf").symlink_to("../../blobs/nowhere")
    (snapshots.parent / "refs").mkdir()
    (snapshots.parent / "refs/main").write_text("abc")
    assert [model.files for model in list_stored_models()] == [(folder / "model-Q4_0.gguf",)]


def test_models_of_lm_studio_are_listed(home):
    folder = home / ".lmstudio/models/publisher/Some-Model-GGUF"
    file = write_gguf(folder / "Some-Model-Q4_K_M.gguf")
    write_mmproj(folder / "mmproj-model-f16.gguf", **{"clip.has_audio_encoder": True})
    (folder / "Broken-Q4_0.gguf").write_bytes(b"no GGUF")
    (model, *others) = list_stored_models()[::-1]
    assert (model.name, model.store) == (
        "~/.lmstudio/models/publisher/Some-Model-GGUF/Some-Model-Q4_K_M.gguf", "LM Studio",
    )  # fmt: skip
    assert (model.quantization, model.can_see, model.can_hear) == ("Q4_K_M", True, True)
    assert checkpoint.find(model.name).gguf.shards == (file,)
    assert len(others) <= 1


@pytest.mark.parametrize(
    ("variable", "folder"),
    [
        (None, ".cache/llama.cpp"),
        ("LLAMA_CACHE", "own"),
        ("XDG_CACHE_HOME", "caches/llama.cpp"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the folders are those of Linux")
def test_models_of_llama_cpp_are_listed(home, monkeypatch, variable, folder):
    if variable:
        monkeypatch.setenv(variable, str(home / folder.split("/")[0]))
    root = home / folder
    write_gguf(root / "org_gemma-GGUF_gemma-Q8_0.gguf")
    write_mmproj(root / "org_gemma-GGUF_mmproj-gemma-f16.gguf")
    write_gguf(root / "me_other_other-IQ2_XS.gguf")
    write_gguf(root / "split.gguf", tensors_per_file=8)
    found = {model.name.rpartition("/")[2]: model for model in list_stored_models()}
    assert [name.split(".")[0][:14] for name in found] == [
        "me_other_other", "org_gemma-GGUF", "split-00001-of",
    ]  # fmt: skip
    assert [model.can_see for model in found.values()] == [False, True, False]
    assert [model.quantization for model in found.values()] == ["IQ2_XS", "Q8_0", "F32"]
    assert len([*found.values()][-1].files) > 2


def test_folders_that_can_t_be_read_are_left_out(home, monkeypatch):
    monkeypatch.setenv("OLLAMA_MODELS", str(home / "file" / "below"))
    (home / "file").touch()
    monkeypatch.setenv("LLAMA_CACHE", "x" * 5000)
    assert list_stored_models() == []


def test_the_inventory_says_whether_a_model_fits(ollama, monkeypatch):
    def describe() -> dict:
        return next(e for e in inventory.list_models() if e["name"] == "ollama:llava:7b")

    entry = describe()
    assert {"name", "sees", "parts"} <= entry.keys()
    assert [part["role"] for part in entry["parts"]] == ["language", "vision"]
    assert (entry["store"], entry["hears"], entry["fits"]) == ("Ollama", False, True)
    assert inventory.summarize_model(entry) == "F32 0.0 GB, vision (Ollama)"
    monkeypatch.setattr(machine, "get_free_memory", lambda: entry["size"] - 1)
    assert inventory.summarize_model(describe()).endswith(
        "vision, does not fit into the free memory (Ollama)"
    )


def test_a_kv_cache_must_fit_beside_a_model(home, monkeypatch):
    file = write_gguf(home / ".lmstudio/models/a/b/model-Q4_0.gguf")
    needed = estimate_memory([file], None)
    assert needed > file.stat().st_size
    for free, fits in ((needed, True), (needed - 1, False)):
        monkeypatch.setattr(machine, "get_free_memory", lambda free=free: free)
        entry = next(e for e in inventory.list_models() if e["name"].endswith("model-Q4_0.gguf"))
        assert entry["fits"] == fits


def test_listing_reads_no_vocabulary_where_names_say_enough(home, monkeypatch):
    write_gguf(home / ".lmstudio/models/a/b/model-Q4_0.gguf")
    monkeypatch.setattr(stores, "read_header", lambda _: pytest.fail("a header was read"))
    assert len(list_stored_models()) == 1
