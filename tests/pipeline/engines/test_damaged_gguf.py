"""GGUFs with sizes that llama.cpp does not check: it crashes, and the file is named."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import assert_error
from gguf_models import change_number, write_audio_mmproj, write_gguf, write_mmproj
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


@needs_llama_cpp
def test_an_audio_tower_that_aborts_llama_cpp_is_named(mmtui, model, tmp_path, clip_wav):
    mmproj = write_audio_mmproj(tmp_path / "mmproj.gguf", projector="ultravox")
    (tmp_path / "clip.wav").write_bytes(clip_wav)
    recording = ["--listen", "model", "--audio", tmp_path / "clip.wav"]
    run = mmtui("ask", "Hello", "--model", model, *recording)
    assert (run.code, run.out) == (4, "")
    error, hint = run.err.splitlines()[-2:]
    assert error == f"error: llama.cpp crashed while it read {mmproj}" and HINT in hint


@needs_llama_cpp
@pytest.mark.parametrize("tower", ["patch_size", "attention.head_count", "ultravox"])
def test_a_chat_goes_on_after_an_attachment_that_crashes_llama_cpp(
    mmtui, model, tmp_path, cat, clip_wav, tower
):
    mmproj, attachment = tmp_path / "mmproj.gguf", cat
    if tower == "ultravox":  # crashes when it encodes
        write_audio_mmproj(mmproj, projector=tower)
        attachment = tmp_path / "clip.wav"
        attachment.write_bytes(clip_wav)
    else:  # crash when they encode, and when they are loaded
        change_number(write_mmproj(mmproj), f"clip.vision.{tower}", 7 if tower[0] == "p" else 0)
    (tmp_path / "mmtui").mkdir()
    (tmp_path / "mmtui" / "config.toml").write_text("max_tokens = 4\n")
    home = {"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    lines = f"/file {attachment}\nWhat is it?\n/drop\nHello\nHello again\n".encode()
    listener = ["--listen", "model"] if tower == "ultravox" else []
    run = mmtui("--plain", "--model", model, *listener, stdin=lines, env=home)
    assert run.code == 0, run.err
    assert f"error: llama.cpp crashed while it read {mmproj}\n" in run.err
    assert "send again without the attachment" in run.err
    assert "not sent yet: What is it?" in run.err
    assert run.out.count("\n") >= 2 and run.err.count("/continue resumes the answer") == 2


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
