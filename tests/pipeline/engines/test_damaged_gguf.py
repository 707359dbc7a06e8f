"""GGUFs with sizes that llama.cpp does not check: it crashes, and the file is named."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import assert_error
from gguf_models import write_gguf, write_mmproj
from model_events import ModelEvents
from PIL import Image

from mmtui.chat.model_process import ModelProcess
from mmtui.chat.protocol import ChatTurn, Died
from mmtui.errors import InputError
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.engines.llama_library import find_packages

needs_llama_cpp = pytest.mark.skipif(not find_packages(), reason="llama.cpp is not installed")
HINT = "may be damaged, or belong to another model"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "model.gguf", "qwen2")


@pytest.fixture
def mmproj(tmp_path: Path) -> Path:
    return write_mmproj(tmp_path / "mmproj.gguf")


def change_number(file: Path, key: str, value: int) -> None:
    """Replace a 32-bit number in the metadata of a GGUF."""
    data = bytearray(file.read_bytes())
    start = data.index(key.encode()) + len(key) + 4  # behind the number of its type
    data[start : start + 4] = struct.pack("<I", value)
    file.write_bytes(data)


@needs_llama_cpp
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("qwen2.block_count", 2**31),  # crashes when it is loaded
        ("qwen2.rope.dimension_count", 7),  # crashes when the first token is computed
    ],
)
def test_a_model_that_crashes_llama_cpp_is_named(mmtui, model, key, value):
    change_number(model, key, value)
    run = mmtui("ask", "Hello", "--model", model)
    assert_error(run, 4, rf"llama\.cpp crashed while it read {model}", HINT)


@needs_llama_cpp
@pytest.mark.parametrize(
    ("key", "value"), [("clip.vision.patch_size", 7), ("clip.vision.attention.head_count", 0)]
)
def test_an_mmproj_that_crashes_llama_cpp_is_named(mmtui, model, mmproj, tmp_path, key, value):
    change_number(mmproj, key, value)
    photo = tmp_path / "photo.png"
    Image.new("RGB", (60, 40)).save(photo)
    run = mmtui("ask", "Hello", "--model", model, "--image", photo)
    assert_error(run, 4, rf"llama\.cpp crashed while it read {mmproj}", HINT)


@pytest.fixture
def events() -> ModelEvents:
    return ModelEvents()


@pytest.fixture
def process(model: Path, events: ModelEvents) -> Iterator[ModelProcess]:
    change_number(model, "qwen2.rope.dimension_count", 7)
    process = ModelProcess(str(model), events)
    yield process
    process.close()


@needs_llama_cpp
def test_the_chat_names_a_model_that_crashes_its_process(process, events, model):
    process.generate([ChatTurn("user", "Hello")])
    died = events.until(Died)[-1]
    assert died.message == f"llama.cpp crashed while it read {model}"
    assert "send again to restart it" in died.hint


@needs_llama_cpp
@pytest.mark.parametrize("part", range(50))
def test_a_model_that_is_cut_off_anywhere_is_refused(model, tmp_path, part):
    data = model.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(data[: len(data) * part // 50])
    with pytest.raises(InputError, match=r"cut\.gguf"):
        Assistant(checkpoint.find(str(cut))).load()


@pytest.mark.parametrize("part", range(50))
def test_an_mmproj_that_is_cut_off_anywhere_is_refused(model, mmproj, tmp_path, part):
    data = mmproj.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(data[: len(data) * part // 50])
    with pytest.raises(InputError, match=r"cut\.gguf"):
        checkpoint.find(f"{model} --mmproj {cut}")
