"""The frozen vision tower: pictures -> patch features (batch, patches, width)."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mmtui.errors import InputError
from mmtui.files import without_byte_order_marks
from mmtui.pipeline.assets.checkpoint import OPEN_CLIP_WEIGHTS_FILE
from mmtui.pipeline.assets.spec import VisionSpec
from mmtui.pipeline.vision.preprocessing import preprocess


class VisionTower(nn.Module):
    """An image tower of open_clip or timm, frozen and in eval mode, with its preprocessing."""

    def __init__(self, spec: VisionSpec, weights: Path) -> None:
        """Raises InputError if the weights are not those of the spec's architecture."""
        super().__init__()
        self.spec = spec
        if spec.architecture == "open_clip":
            visual = _load_open_clip(weights)
        else:
            visual = _load_timm(spec.architecture, weights)
        self.visual: Any = visual.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "VisionTower":  # noqa: ARG002
        return self  # frozen: batch norm and dropout never switch

    @torch.no_grad()
    def encode(self, images: list[Image.Image]) -> Tensor:
        """RGB pictures -> (len(images), patches, width), in fp32."""
        device = next(self.visual.parameters()).device
        pixels = np.stack([preprocess(image, self.spec) for image in images])
        return self.average(self.forward(torch.from_numpy(pixels).to(device)))

    def average(self, features: Tensor) -> Tensor:
        """Average neighbours, if there are more patches than the spec says.

        Args:
            features: What `forward` returns.

        Raises:
            InputError: The result has another shape than (batch, patches, width) of the spec.
        """
        features = average_patches(features, self.spec.patches)
        expected = (self.spec.patches, self.spec.width)
        if features.shape[1:] != expected:
            raise InputError(
                f"the tower gives {tuple(features.shape[1:])} patch features,"
                f" the spec says {expected}"
            )
        return features

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (batch, 3, side, side) -> features (batch, patches, width), not averaged yet."""
        trunk = getattr(self.visual, "trunk", self.visual)  # timm's, which open_clip may wrap
        if not hasattr(trunk, "forward_features"):  # open_clip's own ViT: (pooled, tokens)
            tokens: Tensor = trunk(pixels)[1]
            return tokens
        features: Tensor = trunk.forward_features(pixels)
        if features.ndim == 4:  # a CNN: (batch, width, rows, columns)
            return features.flatten(2).transpose(1, 2)
        return features[:, trunk.num_prefix_tokens :]


def average_patches(features: Tensor, patches: int) -> Tensor:
    """Average neighbours: (batch, n * n, width) -> (batch, patches, width).

    Features of another shape, and those that are few enough already, are returned as they are.
    """
    rows, wanted = math.isqrt(features.shape[1]), math.isqrt(patches)
    if patches >= features.shape[1] or rows**2 != features.shape[1] or wanted**2 != patches:
        return features
    grid = features.transpose(1, 2).reshape(len(features), -1, rows, rows)
    return nn.functional.adaptive_avg_pool2d(grid, wanted).flatten(2).transpose(1, 2)


def _load_open_clip(weights: Path) -> nn.Module:
    """Only the image side of the CLIP model in the folder `weights`."""
    import open_clip

    if not (weights / OPEN_CLIP_WEIGHTS_FILE).exists():  # open_clip would go on without
        raise InputError(f"{weights} has no {OPEN_CLIP_WEIGHTS_FILE}")
    try:
        with without_byte_order_marks(weights) as folder:
            model: Any = open_clip.create_model(f"local-dir:{folder}", output_dict=False)
    except Exception as error:  # a config may hold any nonsense
        raise InputError(f"{weights} holds no open_clip model: {error}") from error
    if not hasattr(model.visual, "trunk"):
        model.visual.output_tokens = True  # patch tokens beside the pooled one, after ln_post
    visual: nn.Module = model.visual
    return visual


def _load_timm(architecture: str, weights: Path) -> nn.Module:
    import timm

    try:
        trunk: Any = timm.create_model(architecture, num_classes=0, global_pool="")
        state = torch.load(weights, map_location="cpu", weights_only=True)
        trunk.load_state_dict(_timm_names(state, [len(stage) for stage in trunk.blocks]))
    except Exception as error:  # of unknown names, damaged files, tensors that do not fit
        raise InputError(f"{weights} are no weights of {architecture}: {error}") from error
    visual: nn.Module = trunk
    return visual


_EFFICIENTNET = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
_PLAIN_BLOCK = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_EXPANDING_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def _timm_names(state: dict[str, Tensor], depths: list[int]) -> dict[str, Tensor]:
    """Rename the tensors of an EfficientNet of lukemelas' PyTorch port to timm's names.

    That port counts its blocks from the first to the last, timm per stage: `depths` are
    the numbers of blocks. The classifier is left out. A name that fits no rule raises
    KeyError; a missing or misshapen tensor is found by `load_state_dict`.
    """
    places = [f"blocks.{stage}.{i}" for stage, depth in enumerate(depths) for i in range(depth)]
    renamed = {}
    for name, tensor in state.items():
        if name.startswith("_fc."):
            continue
        if block := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
            number, layer, leaf = block.groups()
            expands = f"_blocks.{number}._expand_conv.weight" in state
            layers = _EXPANDING_BLOCK if expands else _PLAIN_BLOCK
            renamed[f"{places[int(number)]}.{layers[layer]}.{leaf}"] = tensor
        else:
            layer, leaf = name.split(".")
            renamed[f"{_EFFICIENTNET[layer]}.{leaf}"] = tensor
    return renamed
