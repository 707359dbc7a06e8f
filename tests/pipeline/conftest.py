"""A small model that sees, for the tests of the facade and of both engines."""

import pytest
import torch

from mmtui.pipeline import checkpoint
from mmtui.pipeline.spec import Asset, LanguageSpec, ModelSpec


@pytest.fixture(scope="module")
def tiny(tiny_llama, smol, tmp_path_factory) -> checkpoint.Checkpoint:
    """A small language model behind the real tower, with a projector of chance."""
    spec = ModelSpec("tiny", LanguageSpec(Asset(str(tiny_llama)), "fp32"), smol.spec.vision)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 1280, generator=generator) * 0.05
    folder = tmp_path_factory.mktemp("models") / "tiny"
    checkpoint.write(folder, spec, {"weight": weight, "bias": torch.zeros(64)})
    return checkpoint.read(folder)
