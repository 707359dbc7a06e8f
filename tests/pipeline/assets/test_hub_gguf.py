"""GGUFs in repositories of the Hugging Face hub, without a network."""

import dataclasses
import shutil
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
from gguf_models import write_gguf, write_mmproj
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image

from mmtui.errors import MissingError, UsageError
from mmtui.pipeline.assets import checkpoint, hub_gguf
from mmtui.pipeline.assets.stores import list_stored_models
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.engines import loading
from mmtui.pipeline.engines.llama_library import find_packages
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.vision.images import Picture

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache; the hub is not reached."""
    folder = tmp_path / "hub"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("OLLAMA_MODELS", "LLAMA_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    return folder


def make_snapshot(cache: Path, repository: str) -> Path:
    entry = cache / f"models--{repository.replace('/', '--')}"
    (entry / "refs").mkdir(parents=True)
    (entry / "refs" / "main").write_text(REVISION)
    return entry / "snapshots" / REVISION


@pytest.fixture
def snapshot(cache: Path) -> Path:
    folder = make_snapshot(cache, "me/Tiny-GGUF")
    write_gguf(folder / "Tiny-Q4_K_M.gguf", "qwen2")
    write_gguf(folder / "Tiny-Q8_0.gguf", "qwen2")
    return folder


def publish(monkeypatch: pytest.MonkeyPatch, *files: str) -> None:
    """Let the hub tell that a repository has these files."""
    siblings = [SimpleNamespace(rfilename=file, size=10) for file in files]
    info = SimpleNamespace(siblings=siblings)
    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: info)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("hf:me/Tiny-GGUF", "Tiny-Q4_K_M.gguf"),
        ("hf:me/Tiny-GGUF:q8_0", "Tiny-Q8_0.gguf"),
        ("hf:me/Tiny-GGUF:Tiny-Q8_0.gguf", "Tiny-Q8_0.gguf"),
    ],
)
def test_files_on_this_machine_are_used_without_a_network(snapshot, name, file):
    found = checkpoint.find(name)
    assert (found.spec.name, found.gguf.shards) == (name, (snapshot / file,))
    assert found.gguf.download is None
    assert not found.can_see


def test_the_mmproj_of_a_repository_is_used(snapshot):
    best = write_mmproj(snapshot / "mmproj-Tiny-f16.gguf")
    write_mmproj(snapshot / "mmproj-Tiny-f32.gguf")
    found = checkpoint.find("hf:me/Tiny-GGUF")
    assert (found.gguf.mmproj, found.gguf.picture_side) == (best, 56)


def test_without_a_network_the_only_file_is_used_and_others_are_missing(snapshot):
    with pytest.raises(MissingError, match="the hub can't be reached"):
        checkpoint.find("hf:me/Tiny-GGUF:Q2_K")
    (snapshot / "Tiny-Q4_K_M.gguf").unlink()
    assert checkpoint.find("hf:me/Tiny-GGUF").gguf.shards == (snapshot / "Tiny-Q8_0.gguf",)
    with pytest.raises(MissingError, match="the hub can't be reached"):
        checkpoint.find("hf:other/Tiny-GGUF")


def test_files_are_chosen_from_the_list_of_the_hub(monkeypatch):
    shards = [f"Q6_K/Big-Q6_K-0000{number}-of-00002.gguf" for number in (1, 2)]
    incomplete = "Big-Q5_K_M-00001-of-00003.gguf"
    publish(
        monkeypatch, "README.md", "Big-Q4_K_M.gguf", "Big-Q8_0.gguf", *shards, incomplete,
        "mmproj-Big-f32.gguf", "mmproj-Big-BF16.gguf", "../Evil-Q3_K.gguf", "[a]-Q3_K.gguf",
    )  # fmt: skip
    default = hub_gguf.find("hf:me/Big-GGUF")
    assert default.files == ("Big-Q4_K_M.gguf",)
    assert default.asset.only == ("Big-Q4_K_M.gguf", "mmproj-Big-BF16.gguf")
    assert (default.asset.uri, default.asset.download) == ("hf:me/Big-GGUF", 20)
    assert hub_gguf.find("hf:me/Big:Q6_K").files == tuple(shards)
    found = checkpoint.find("hf:me/Big:q8_0")
    assert (found.can_see, found.spec.language.weights.only[0]) == (True, "Big-Q8_0.gguf")
    for choice in ("Q5_K_M", "Q3_K", "Evil-Q3_K.gguf"):
        with pytest.raises(UsageError, match=f"hf:me/Big has no {choice}") as error:
            hub_gguf.find(f"hf:me/Big:{choice}")
        assert error.value.hint.endswith(
            "one of Big-Q4_K_M.gguf, Big-Q8_0.gguf, Big-Q6_K-00001-of-00002.gguf"
        )


UNSLOTH = (
    "x-IQ4_XS.gguf", "x-Q4_K_M.gguf", "x-UD-IQ1_S.gguf", "x-UD-IQ4_XS.gguf", "x-UD-Q4_K_XL.gguf",
    "imatrix_unsloth.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf",
)  # fmt: skip
XTUNER = tuple(f"llava-llama-3-8b-v1_1-{kind}.gguf" for kind in ("f16", "int4", "mmproj-f16"))
GGML_ORG = (
    "SmolVLM-500M-Instruct-Q8_0.gguf", "SmolVLM-500M-Instruct-f16.gguf",
    "mmproj-SmolVLM-500M-Instruct-Q8_0.gguf", "mmproj-SmolVLM-500M-Instruct-f16.gguf",
)  # fmt: skip
QWEN = tuple(f"qwen2.5-0.5b-instruct-{kind}.gguf" for kind in ("fp16", "q4_k_m"))


@pytest.mark.parametrize(
    ("files", "choice", "file", "mmproj"),
    [
        (UNSLOTH, "", "x-Q4_K_M.gguf", "mmproj-F16.gguf"),
        (UNSLOTH, ":UD-Q4_K_XL", "x-UD-Q4_K_XL.gguf", "mmproj-F16.gguf"),
        (UNSLOTH, ":Q4_K_XL", "x-UD-Q4_K_XL.gguf", "mmproj-F16.gguf"),
        (UNSLOTH, ":IQ1_S", "x-UD-IQ1_S.gguf", "mmproj-F16.gguf"),
        (UNSLOTH, ":IQ4_XS", "x-IQ4_XS.gguf", "mmproj-F16.gguf"),
        (UNSLOTH, ":ud-iq4_xs", "x-UD-IQ4_XS.gguf", "mmproj-F16.gguf"),
        (XTUNER, ":int4", XTUNER[1], XTUNER[2]),
        (XTUNER, ":F16", XTUNER[0], XTUNER[2]),
        (GGML_ORG, ":Q8_0", GGML_ORG[0], GGML_ORG[3]),
        (QWEN, "", QWEN[1], None),
        (QWEN, ":fp16", QWEN[0], None),
        (QWEN, ":F16", QWEN[0], None),
        (("x.i1-IQ2_M.gguf",), ":i1-IQ2_M", "x.i1-IQ2_M.gguf", None),
        (("x-f16.gguf", "mmproj-x-fp16.gguf", "mmproj-x-q8_0.gguf"), ":f16", "x-f16.gguf",
         "mmproj-x-fp16.gguf"),
        (("m-Q4_K_M.gguf", "imatrix.gguf"), "", "m-Q4_K_M.gguf", None),
        (("only-q5_0.gguf", "imatrix.gguf"), "", "only-q5_0.gguf", None),
        (("ggml-model-q4_k.gguf", "ggml-model-f16.gguf", "mmproj-model-f16.gguf"), ":q4_k",
         "ggml-model-q4_k.gguf", "mmproj-model-f16.gguf"),
    ],
)  # fmt: skip
def test_names_of_published_files_are_known(monkeypatch, files, choice, file, mmproj):
    publish(monkeypatch, *files)
    found = hub_gguf.find(f"hf:me/x-GGUF{choice}")
    assert (found.files, found.mmproj) == ((file,), mmproj)


def test_a_choice_is_asked_for_where_it_is_needed(monkeypatch):
    publish(monkeypatch, "a-Q4_K_M.gguf", "b-Q4_K_M.gguf")
    with pytest.raises(UsageError, match=r"several files: a-Q4_K_M\.gguf, b-Q4_K_M\.gguf"):
        hub_gguf.find("hf:me/x-GGUF")
    assert hub_gguf.find("hf:me/x-GGUF:b-Q4_K_M.gguf").files == ("b-Q4_K_M.gguf",)
    publish(monkeypatch, "a-Q8_0.gguf", "a-Q5_0.gguf")
    with pytest.raises(UsageError, match="no Q4_K_M, so one must be chosen"):
        hub_gguf.find("hf:me/x-GGUF")
    publish(monkeypatch, "a-Q8_0.gguf")
    assert hub_gguf.find("hf:me/x-GGUF").files == ("a-Q8_0.gguf",)
    publish(monkeypatch, "model.safetensors")
    with pytest.raises(UsageError, match="hf:me/x-GGUF has no GGUF files"):
        hub_gguf.find("hf:me/x-GGUF")


@pytest.mark.parametrize("name", ["hf:me/other", "hf:me", "hf:me/a/b:Q4_0", "smol", "hf:../..:x y"])
def test_other_names_are_not_those_of_ggufs(name):
    assert hub_gguf.find(name) is None


def test_a_repository_with_a_config_is_not_taken_for_ggufs(cache):
    folder = make_snapshot(cache, "me/both")
    write_gguf(folder / "a-Q4_K_M.gguf")
    assert hub_gguf.find("hf:me/both") is not None
    (folder / "config.json").write_text("{}")
    assert hub_gguf.find("hf:me/both") is None
    assert hub_gguf.find("hf:me/both:Q4_K_M") is not None


@pytest.mark.skipif(not find_packages(), reason="llama.cpp is not installed")
def test_a_model_is_downloaded_when_it_is_loaded(cache, tmp_path, monkeypatch):
    published = tmp_path / "published"
    write_gguf(published / "a-Q4_K_M.gguf", "qwen2")
    write_mmproj(published / "mmproj-f16.gguf")
    publish(monkeypatch, "a-Q4_K_M.gguf", "mmproj-f16.gguf", "a-Q8_0.gguf")
    snapshot = make_snapshot(cache, "me/a-GGUF")
    requests: list[object] = []

    def download(repository: str, local_files_only: bool = False, **options: object) -> str:
        if local_files_only and not snapshot.exists():
            raise LocalEntryNotFoundError("not here")
        if not local_files_only:
            requests.append((repository, options["allow_patterns"]))
            blob = snapshot.parents[1] / "blobs" / "0.incomplete"
            blob.parent.mkdir()
            blob.write_bytes(bytes(12))
            assert reported.wait(60)
            blob.unlink()
            shutil.copytree(published, snapshot)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    reported = Event()

    def report(*progress: object) -> None:
        if progress == ("fetching hf:me/a-GGUF", 12, 20):  # of two files of 10 bytes
            reported.set()

    found = checkpoint.find("hf:me/a-GGUF")
    assistant = Assistant(found, report)
    assert found.can_see and not requests
    pixels = np.zeros((20, 30, 3), np.uint8)
    turns = [Turn("user", (Picture("0" * 64, Image.fromarray(pixels)), "What?"))]
    reply = list(assistant.reply(turns, max_tokens=2))[-1]
    assert reply.prompt_tokens > 16
    assert requests == [("me/a-GGUF", ["a-Q4_K_M.gguf", "mmproj-f16.gguf"])]
    assert checkpoint.find("hf:me/a-GGUF").gguf.shards == (snapshot / "a-Q4_K_M.gguf",)


@pytest.mark.skipif(not find_packages(), reason="llama.cpp is not installed")
def test_a_repository_whose_mmproj_only_hears_can_t_see(snapshot):
    write_mmproj(
        snapshot / "mmproj-f16.gguf",
        **{"clip.has_vision_encoder": False, "clip.has_audio_encoder": True},
    )
    found = checkpoint.find("hf:me/Tiny-GGUF")
    assert not found.can_see
    unknown = dataclasses.replace(found.gguf, mmproj=None)  # as after a download
    with pytest.raises(MissingError, match="its mmproj has no vision tower"):
        loading.load_mmproj(Assistant(found).language, unknown, snapshot)


def test_models_of_the_cache_are_listed_with_names_that_open_them(snapshot):
    write_gguf(snapshot / "Other-Q8_0.gguf", "qwen2")
    found = [model.name for model in list_stored_models()]
    assert found[0] == "hf:me/Tiny-GGUF:Q4_K_M"  # two are Q8_0: their paths are their names
    assert [name.rpartition("/")[2] for name in found[1:]] == ["Other-Q8_0.gguf", "Tiny-Q8_0.gguf"]
    assert all(checkpoint.find(name).gguf for name in found)
