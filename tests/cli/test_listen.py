"""`--listen model` with a GGUF on this machine that hears."""

from pathlib import Path

import numpy as np
import pytest
from gguf_models import write_audio_mmproj, write_gguf
from model_events import ModelEvents

from mmtui.chat.config import Config
from mmtui.chat.model_process import ModelProcess
from mmtui.chat.protocol import ChatTurn, Completed, Failed
from mmtui.errors import UsageError
from mmtui.pipeline.assets import inventory
from mmtui.pipeline.engines.llama_library import find_packages
from mmtui.pipeline.input_files import encode_wav

needs_llama_cpp = pytest.mark.skipif(not find_packages(), reason="llama.cpp is not installed")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_audio_mmproj(tmp_path / "mmproj.gguf")
    return write_gguf(tmp_path / "model.gguf", "qwen2")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    file = tmp_path / "noise.wav"
    samples = np.random.default_rng(0).normal(0, 0.2, 16000)
    file.write_bytes(encode_wav(samples.astype(np.float32)))
    return file


@needs_llama_cpp
def test_a_model_hears_a_recording_itself(mmtui, model, recording):
    options = ["--model", model, "--listen", "model", "--max-tokens", "4", "--json"]
    run = mmtui("ask", "What is it?", "--audio", recording, *options)
    assert run.code == 0, run.err
    assert run.json["transcript"] is None
    assert run.json["usage"]["prompt_tokens"] > 750  # half of the frames of 30 s


@needs_llama_cpp
def test_the_chat_gives_a_recording_to_the_model(model, recording):
    events = ModelEvents()
    process = ModelProcess(str(model), events)
    process.generate([ChatTurn("user", "", recordings=(str(recording),))], 4)
    done = events.until(Completed, Failed)[-1]
    process.close()
    assert isinstance(done, Completed), done
    assert done.prompt_tokens > 750


def test_a_setting_applies_to_models_that_hear(model, tmp_path):
    hears = Config(model=str(model), listen="model")
    assert hears.sends_recordings
    deaf = Config(model=str(write_gguf(tmp_path / "deaf" / "model.gguf")))
    assert not deaf.replace(listen="model").sends_recordings
    with pytest.raises(UsageError, match="only a GGUF whose mmproj has an audio tower hears"):
        deaf.with_listener("model")


def test_a_model_that_hears_is_listed_as_such():
    entry = {"sees": False, "hears": True, "store": "LM Studio", "fits": True, "quantization": ""}
    summary = inventory.summarize_model({**entry, "size": 1_000_000_000})
    assert summary == "1.0 GB, no vision, hears (LM Studio)"
