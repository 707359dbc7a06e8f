"""Fixtures for tests of the commands."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec


@pytest.fixture(scope="module")
def small_model(tiny_llama, smol, tmp_path_factory) -> Path:
    """Save a small language model with the vision tower and the speech model of smol."""
    spec = ModelSpec(
        "tiny", LanguageSpec(Asset(str(tiny_llama)), "fp32"), smol.spec.vision, smol.spec.speech
    )
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 1280, generator=generator) * 0.05
    folder = tmp_path_factory.mktemp("models") / "tiny"
    checkpoint.write(folder, spec, {"weight": weight, "bias": torch.zeros(64)})
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Save a photo of noise."""
    path = tmp_path / "photo.jpg"
    Image.effect_noise((120, 90), 80).convert("RGB").save(path)
    return path
