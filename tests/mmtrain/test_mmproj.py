"""Exported GGUFs with an mmproj, which llama.cpp's own mtmd reads."""

import dataclasses
import hashlib
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from siglip_run import write_run

from mmtrain.export.gguf import export_gguf
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.engines.llama_library import find_packages
from mmtui.pipeline.engines.llamacpp_engine import LlamaEngine
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.vision.images import Picture

TOKENS = 20
# The default of llama.cpp, which computes in 16 bits; the same cache of 16 bits without it; and
# neither of them, as for checkpoints of the precision fp32.
Attention = Literal["fused", "plain", "exact"]


class Recorder:
    """A greedy sampler that remembers the logits."""

    def __init__(self) -> None:
        self.logits: list[np.ndarray] = []

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        self.logits.append(np.array(logits[0], np.float32))
        return logits.argmax(-1)


class PlainAttention:
    """The functions of llama.cpp, whose contexts have no fused attention by default."""

    def __init__(self, functions: Any) -> None:
        self._functions = functions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._functions, name)

    def llama_context_default_params(self) -> Any:
        options = self._functions.llama_context_default_params()
        options.flash_attn_type = 0
        return options


def draw_picture(side: int) -> Picture:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
    return Picture(hashlib.sha256(image.tobytes()).hexdigest(), image)


@pytest.fixture
def picture() -> Picture:
    return draw_picture(56)


def answer(
    found: checkpoint.Checkpoint, engine: str, turns: list[Turn], attention: Attention = "fused"
) -> tuple[list[int], np.ndarray]:
    """Return greedy tokens, and the logits of each.

    Args:
        found: The model.
        engine: The engine that runs it.
        turns: The conversation.
        attention: How llama.cpp computes attention.
    """
    assistant = Assistant(found, engine=engine)
    if attention == "exact":
        language = dataclasses.replace(assistant._engine.language, precision="fp32")
        assistant._engine = LlamaEngine(language)
    elif attention == "plain":
        language = assistant._engine.language
        functions = PlainAttention(language.library.functions)
        library = dataclasses.replace(language.library, functions=functions)
        assistant._engine = LlamaEngine(dataclasses.replace(language, library=library))
    pictures = [part for turn in turns for part in turn.content if isinstance(part, Picture)]
    features = {k: v.features for k, v in assistant.encode_pictures(pictures).items()}
    sequence, sampler = assistant._to_positions(turns), Recorder()
    stream = assistant._engine.stream(sequence, features, sampler)
    tokens = list(islice((token for token in stream if token is not None), TOKENS))
    return tokens, np.stack(sampler.logits[:TOKENS])


@pytest.fixture
def run(tiny_llama: Path, tmp_path: Path) -> checkpoint.Checkpoint:
    """A checkpoint with a SigLIP tower and a linear projector."""
    return write_run(tiny_llama, tmp_path)


@pytest.mark.skipif(not find_packages(), reason="llama.cpp is not installed")
@pytest.mark.parametrize("quantization", ["f32", "f16"])
def test_mtmd_answers_as_torch_does(run, picture, tmp_path, cache, quantization):
    turns = [Turn("user", (picture, "What is in this picture?"))]
    expected, expected_logits = answer(run, "torch", turns)
    out = export_gguf(str(tmp_path / "run"), tmp_path / "out", quantization)
    found = checkpoint.find(str(out / "language" / "model.gguf"))
    assert found.gguf.mmproj == out / "language" / "mmproj.gguf"
    tokens, logits = answer(found, "llamacpp", turns)
    if quantization == "f32":
        assert tokens == expected
    np.testing.assert_allclose(logits[0], expected_logits[0], atol=2e-2)
    modelfile = (out / "Modelfile").read_text()
    assert modelfile == "FROM ./language/model.gguf\nFROM ./language/mmproj.gguf\n"


@pytest.mark.skipif(not find_packages(), reason="llama.cpp is not installed")
@pytest.mark.parametrize(("patch", "quantization"), [(32, "f32"), (16, "f32"), (16, "f16")])
def test_mtmd_answers_as_torch_does_at_224_pixels(tiny_llama, tmp_path, cache, patch, quantization):
    run = write_run(tiny_llama, tmp_path, 224, patch)
    turns = [Turn("user", (draw_picture(224), "What is in this picture?"))]
    expected, expected_logits = answer(run, "torch", turns)
    out = export_gguf(str(tmp_path / "run"), tmp_path / "out", quantization)
    found = checkpoint.find(str(out / "language" / "model.gguf"))
    if quantization == "f32":
        assert answer(found, "llamacpp", turns)[0] == expected
    _, logits = answer(found, "llamacpp", turns, "exact")
    np.testing.assert_allclose(logits[0], expected_logits[0], atol=1e-2)


@pytest.mark.skipif(not find_packages(), reason="llama.cpp is not installed")
@pytest.mark.parametrize(
    ("attention", "limit"), [("fused", 0.03), ("plain", 0.01), ("exact", 0.01)]
)
def test_fused_attention_is_what_rounds_the_logits_of_an_export_in_f16(
    tiny_llama, tmp_path, cache, attention, limit
):
    run = write_run(tiny_llama, tmp_path, 224, 16)
    turns = [Turn("user", (draw_picture(224), "What is in this picture?"))]
    _, expected = answer(run, "torch", turns)
    out = export_gguf(str(tmp_path / "run"), tmp_path / "out", "f16")
    found = checkpoint.find(str(out / "language" / "model.gguf"))
    _, logits = answer(found, "llamacpp", turns, attention)
    np.testing.assert_allclose(logits[0], expected[0], atol=limit)


def test_a_clip_tower_has_no_mmproj_and_the_reason_is_given(
    tiny_llama, tiny_vision, tmp_path, cache
):
    spec = ModelSpec("tiny", LanguageSpec(Asset(str(tiny_llama)), "fp32"), tiny_vision)
    checkpoint.write(tmp_path / "run", spec, torch.nn.Linear(128, 64).state_dict())
    notes: list[str] = []
    out = export_gguf(str(tmp_path / "run"), tmp_path / "out", "f16", notify=notes.append)
    assert notes == [
        "there is no mmproj: llama.cpp confuses the class token of CLIP towers with the first patch"
    ]
    assert not (out / "language" / "mmproj.gguf").exists()
    assert not (out / "Modelfile").exists()
