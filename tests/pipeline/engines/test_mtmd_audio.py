"""Recordings through the audio tower of an mmproj, against the helper functions of mtmd."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from gguf_models import write_audio_mmproj, write_gguf
from mtmd_helper import MtmdHelper

from mmtui.errors import InputError, MissingError
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assistant import Assistant, Reply
from mmtui.pipeline.engines import llama_language, probe
from mmtui.pipeline.engines.llama_language import LlamaLanguage
from mmtui.pipeline.engines.llama_library import find_packages, load_library
from mmtui.pipeline.engines.llamacpp_engine import LlamaEngine
from mmtui.pipeline.engines.mtmd_encoder import MtmdEncoder
from mmtui.pipeline.engines.sampling import GREEDY, Sampler
from mmtui.pipeline.prompt import ChatFormat, Turn
from mmtui.pipeline.sequence import to_positions
from mmtui.pipeline.speech.recording import Recording, make_recording
from mmtui.pipeline.vision.images import make_placeholder

NEW = 8
QUESTION = "What is in this picture?"

pytestmark = pytest.mark.skipif(not find_packages(), reason="llama.cpp is not installed")


@pytest.fixture(scope="module", params=["qwen2", "qwen2vl"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "model.gguf", request.param)


@pytest.fixture(scope="module", params=find_packages())
def model(request: pytest.FixtureRequest, file: Path) -> LlamaLanguage:
    if probe.find_outcome(request.param) == "crashes":
        pytest.skip(f"{request.param} crashes on this machine")
    extra = probe.find_outcome(request.param) == "works"
    return llama_language.load_gguf([file], load_library(request.param), extra_buffers=extra)


@pytest.fixture(scope="module", params=[("qwen2a", 8), ("ultravox", 4), ("voxtral", 2)])
def mmproj(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    projector, stack = request.param
    file = tmp_path_factory.mktemp("mmproj") / "mmproj.gguf"
    return write_audio_mmproj(file, projector=projector, stack=stack)


def make_noise(seed: int, seconds: float) -> Recording:
    """Return noise that gets louder and softer, mono at 16 kHz."""
    samples = np.random.default_rng(seed).normal(0, 0.2, int(16000 * seconds))
    envelope = np.abs(np.sin(np.arange(len(samples)) * (seed + 1) / 4000))
    return make_recording((samples * envelope).astype(np.float32))


def generate(engine: LlamaEngine, encoder: MtmdEncoder, turns: list[Turn]) -> list[int]:
    recordings = [part for turn in turns for part in turn.content if isinstance(part, Recording)]
    encoded = {recording.sha256: encoder.encode(recording) for recording in recordings}
    layouts = {sha256: recording.layout for sha256, recording in encoded.items()}
    features = {sha256: recording.features for sha256, recording in encoded.items()}
    prompt = ChatFormat(engine.language.tokenizer).encode(turns)
    tokens = engine.stream(to_positions(prompt, 0, layouts), features, Sampler(GREEDY))
    return list(islice((token for token in tokens if token is not None), NEW))


def render(model: LlamaLanguage, content: str) -> str:
    return model.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}],
        chat_template=model.tokenizer.chat_template,
        tokenize=False,
        add_generation_prompt=True,
    ).removeprefix("<s>")


def test_answers_about_recordings_are_those_of_mtmd(model, mmproj):
    encoder, engine, answers = MtmdEncoder(model, mmproj), LlamaEngine(model), set()
    helper = MtmdHelper(model, mmproj, 4096)
    for seed, seconds in ((0, 1.0), (1, 15.0)):
        recording = make_noise(seed, seconds)
        text = render(model, f"<__media__>\n{QUESTION}")
        expected = helper.generate(text, [recording.clip], NEW)
        turns = [Turn("user", (recording, QUESTION))]
        assert generate(LlamaEngine(model), encoder, turns) == expected
        assert generate(engine, encoder, turns) == expected
        answers.add(tuple(expected))
    assert len(answers) == 2  # the recordings do matter
    first, second = make_noise(3, 2.0), make_noise(4, 1.5)
    text = render(model, f"<__media__>\n{QUESTION}\n<__media__>")
    turns = [Turn("user", (first, QUESTION, second))]
    expected = helper.generate(text, [first.clip, second.clip], NEW)
    assert generate(engine, encoder, turns) == expected


def test_a_recording_is_encoded_once_and_its_cache_is_reused(file, mmproj):
    steps: list[tuple] = []
    found = checkpoint.find(f"{file} --mmproj {mmproj}")
    assistant = Assistant(found, lambda *progress: steps.append(progress))
    first = [Turn("user", (make_noise(0, 4.0), f"{QUESTION} " * 9))]
    answer = list(assistant.reply(first, max_tokens=6))[-1]
    assert isinstance(answer, Reply)
    heard = [step for step in steps if step[0] == "listening"]
    assert heard == [("listening", 0, 1), ("listening", 1, 1)]
    second = [*first, Turn("assistant", (answer.text,)), Turn("user", ("And a dog?",))]
    again = list(assistant.reply(second, max_tokens=6))[-1]
    assert again.cached_tokens >= answer.prompt_tokens
    assert [step for step in steps if step[0] == "listening"] == heard


def test_a_tower_that_only_hears_refuses_pictures(model, mmproj):
    with pytest.raises(InputError, match="has no vision tower"):
        MtmdEncoder(model, mmproj).encode(make_placeholder("0"))


def test_a_model_without_an_audio_tower_can_t_hear(file):
    assistant = Assistant(checkpoint.find(str(file)))
    with pytest.raises(MissingError, match="model has no audio tower") as error:
        list(assistant.reply([Turn("user", (make_noise(0, 1.0), QUESTION))]))
    assert error.value.hint == "pass --listen whisper"
