"""A checkpoint with a SigLIP tower, a linear projector and random weights, as a run has it."""

from pathlib import Path

import torch
from llava_checkpoints import save_llava

from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec


def write_run(
    language: Path, folder: Path, side: int = 56, patch: int = 14
) -> checkpoint.Checkpoint:
    """Write a checkpoint to `folder / "run"`.

    Args:
        language: The folder of a language model with embeddings of 64 numbers.
        folder: The folder to write to.
        side: The side of the pictures that the tower reads, in pixels.
        patch: The side of a patch, in pixels.
    """
    save_llava(
        folder / "tower", "siglip", "qwen2", side=side, patch=patch,
        vision_feature_layer=-2, vision_feature_select_strategy="full",
    )  # fmt: skip
    vision = checkpoint.find(str(folder / "tower")).spec.vision
    torch.manual_seed(1)
    spec = ModelSpec("tiny", LanguageSpec(Asset(str(language)), "fp32"), vision)
    projector = torch.nn.Linear(32, 64)
    torch.nn.init.normal_(projector.weight, std=0.02)
    checkpoint.write(folder / "run", spec, projector.state_dict())
    return checkpoint.read(folder / "run")
