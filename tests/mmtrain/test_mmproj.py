"""Exported GGUFs with an mmproj, which llama.cpp's own mtmd reads."""

import dataclasses
import hashlib
import json
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from llava_checkpoints import save_llava
from PIL import Image
from siglip_run import write_run
from torch import nn

from mmtrain.export.gguf import export_gguf
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec, VisionSpec
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


def encode(found: checkpoint.Checkpoint, engine: str, picture: Picture) -> np.ndarray:
    """Return the projected features of a picture."""
    encoded = Assistant(found, engine=engine).encode_pictures([picture])
    return np.asarray(encoded[picture.sha256].features)


def write_clip_run(
    language: Path, vision: VisionSpec, folder: Path, projector: torch.nn.Module | None = None
) -> None:
    """Write a checkpoint with a CLIP tower to `folder / "run"`."""
    spec = ModelSpec("tiny", LanguageSpec(Asset(str(language)), "fp32"), vision)
    torch.manual_seed(1)
    projector = projector or torch.nn.Linear(vision.width, 64)
    for parameter in projector.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    checkpoint.write(folder / "run", spec, projector.state_dict())


@pytest.mark.skipif(not find_packages(), reason="llama.cpp is not installed")
@pytest.mark.parametrize("quantization", ["f32", "f16"])
def test_mtmd_answers_with_a_clip_tower_as_torch_does(
    tiny_llama, save_clip, tmp_path, cache, quantization
):
    (tmp_path / "tower").mkdir()
    shape = {"image_size": 224, "layers": 3, "width": 128, "patch_size": 32}
    save_clip(tmp_path / "tower", vision_cfg=shape)
    weights, half = Asset(str(tmp_path / "tower")), (0.5, 0.5, 0.5)
    write_clip_run(tiny_llama, VisionSpec(weights, "open_clip", 224, half, half, 49, 128), tmp_path)
    run = checkpoint.read(tmp_path / "run")
    turns = [Turn("user", (draw_picture(224), "What is in this picture?"))]
    expected, expected_logits = answer(run, "torch", turns)
    out = export_gguf(str(tmp_path / "run"), tmp_path / "out", quantization)
    found = checkpoint.find(str(out / "language" / "model.gguf"))
    tokens, _ = answer(found, "llamacpp", turns)
    if quantization == "f32":
        assert tokens == expected
    _, logits = answer(found, "llamacpp", turns, "plain")
    np.testing.assert_allclose(logits[0], expected_logits[0], atol=1e-2)
    assert (out / "Modelfile").exists()


@pytest.mark.skipif(not find_packages(), reason="llama.cpp is not installed")
@pytest.mark.parametrize(
    ("side", "changed", "has_two_layers"),
    [
        (224, {}, False),  # hidden states before the last layer, without the final norm
        (112, {}, True),
        (56, {"vision_feature_layer": [0, 1, -2]}, False),
    ],
)
def test_mtmd_has_the_features_of_a_clip_tower(
    tiny_llama, tmp_path, cache, side, changed, has_two_layers
):
    save_llava(tmp_path / "tower", "clip", "qwen2", side=side, **changed)
    vision = checkpoint.find(str(tmp_path / "tower")).spec.vision
    layers = (nn.Linear(vision.width, 64), nn.GELU(), nn.Linear(64, 64))
    projector = nn.Sequential(*layers) if has_two_layers else None
    write_clip_run(tiny_llama, vision, tmp_path, projector)
    run, picture = checkpoint.read(tmp_path / "run"), draw_picture(side)
    out = export_gguf(str(tmp_path / "run"), tmp_path / "out", "f32")
    features = encode(checkpoint.find(str(out / "language" / "model.gguf")), "llamacpp", picture)
    expected = encode(run, "torch", picture)
    assert expected.std() > 0.01
    np.testing.assert_allclose(features, expected, atol=5e-3 * float(np.abs(expected).max()))


def test_pictures_that_ollama_does_not_number_are_noted(run, tmp_path, cache):
    prompt = dataclasses.replace(run.spec.language.prompt, number_pictures=True)
    language = dataclasses.replace(run.spec.language, prompt=prompt)
    spec = dataclasses.replace(run.spec, language=language)
    (tmp_path / "run" / "spec.json").write_text(json.dumps(spec.to_json()))
    notes: list[str] = []
    out = export_gguf(str(tmp_path / "run"), tmp_path / "out", "f16", notify=notes.append)
    note = "Ollama does not number the pictures, so the model may mix up several of them"
    assert notes == [note] and (out / "Modelfile").exists()


def test_a_clip_tower_with_its_class_token_among_the_features_has_no_mmproj(
    tiny_llama, tmp_path, cache
):
    save_llava(tmp_path / "tower", "clip", "qwen2", vision_feature_select_strategy="full")
    write_clip_run(tiny_llama, checkpoint.find(str(tmp_path / "tower")).spec.vision, tmp_path)
    notes: list[str] = []
    out = export_gguf(str(tmp_path / "run"), tmp_path / "out", "f16", notify=notes.append)
    assert notes == ["there is no mmproj: llama.cpp leaves out the class token of CLIP towers"]
    assert not (out / "language" / "mmproj.gguf").exists()
    assert not (out / "Modelfile").exists()


def test_a_clip_tower_with_narrow_attention_heads_has_no_mmproj(tiny_llama, tmp_path, cache):
    save_llava(tmp_path / "tower", "clip", "qwen2", side=56, heads=8)
    write_clip_run(tiny_llama, checkpoint.find(str(tmp_path / "tower")).spec.vision, tmp_path)
    notes: list[str] = []
    export_gguf(str(tmp_path / "run"), tmp_path / "out", "f16", notify=notes.append)
    assert notes == [
        "there is no mmproj: the attention heads of this CLIP tower have 4 channels, which are too"
        " few to number 16 patches for llama.cpp"
    ]
