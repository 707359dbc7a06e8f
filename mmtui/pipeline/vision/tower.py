"""The frozen vision tower, which maps pictures to patch features."""

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
from mmtui.pipeline.assets.file_names import OPEN_CLIP_WEIGHTS_FILE
from mmtui.pipeline.assets.spec import VisionSpec
from mmtui.pipeline.vision import transformers_tower
from mmtui.pipeline.vision.preprocessing import preprocess


class VisionTower(nn.Module):
    """An image tower of open_clip, transformers or timm, frozen and in eval mode."""

    def __init__(self, spec: VisionSpec, weights: Path) -> None:
        """Load the tower.

        Args:
            spec: The architecture and the shape of the features.
            weights: A folder in open_clip's or Hugging Face's layout, or the .pth file of an
                EfficientNet.

        Raises:
            InputError: The weights are damaged, or do not fit the architecture.
        """
        super().__init__()
        self.spec = spec
        if spec.architecture == "transformers":
            visual: nn.Module = transformers_tower.load(weights, spec)
        elif spec.layers != (-1,) or not spec.final_norm or spec.select != "default":
            raise InputError(
                f"{spec.architecture} gives the last layer only, after its norm and without the"
                " class token",
                'set "architecture" to "transformers", or leave out layers, final_norm and select',
            )
        elif spec.architecture == "open_clip":
            visual = _load_open_clip(weights)
        else:
            visual = _load_timm(spec.architecture, weights)
        self.visual: Any = visual.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "VisionTower":  # noqa: ARG002
        """Do nothing: batch normalization and dropout always stay in eval mode."""
        return self

    @torch.no_grad()
    def encode(self, images: list[Image.Image]) -> Tensor:
        """Return the patch features of RGB pictures in fp32 (len(images), patches, width)."""
        device = next(self.visual.parameters()).device
        pixels = np.stack([preprocess(image, self.spec) for image in images])
        return self.average(self.forward(torch.from_numpy(pixels).to(device)))

    def average(self, features: Tensor) -> Tensor:
        """Average neighbouring patches down to the number of the spec.

        Args:
            features: The output of `forward` (batch, patches, width).

        Returns:
            Features (batch, spec.patches, spec.width).

        Raises:
            InputError: The features do not fit the spec.
        """
        features = average_patches(features, self.spec.patches)
        expected = (self.spec.patches, self.spec.width)
        if features.shape[1:] != expected:
            raise InputError(
                f"the tower gives {tuple(features.shape[1:])} patch features,"
                f" spec.json has {expected}"
            )
        return features

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the features of all patches.

        Args:
            pixels: Preprocessed pictures (batch, 3, image_size, image_size).

        Returns:
            Features (batch, patches, width) before averaging.
        """
        if self.spec.architecture == "transformers":
            selected: Tensor = self.visual(pixels)
            return selected
        trunk = getattr(self.visual, "trunk", self.visual)  # open_clip may wrap a model of timm
        if not hasattr(trunk, "forward_features"):  # a ViT of open_clip returns (pooled, tokens)
            tokens: Tensor = trunk(pixels)[1]
            return tokens
        features: Tensor = trunk.forward_features(pixels)
        if features.ndim == 4:  # a CNN: (batch, width, rows, columns)
            return features.flatten(2).transpose(1, 2)
        return features[:, trunk.num_prefix_tokens :]


def average_patches(features: Tensor, patches: int) -> Tensor:
    """Average neighbouring patches: (batch, n * n, width) -> (batch, patches, width).

    Features that are not a square grid or have no more than `patches` patches are returned
    unchanged.
    """
    side, target_side = math.isqrt(features.shape[1]), math.isqrt(patches)
    is_square = side**2 == features.shape[1] and target_side**2 == patches
    if patches >= features.shape[1] or not is_square:
        return features
    grid = features.transpose(1, 2).reshape(len(features), -1, side, side)
    return nn.functional.adaptive_avg_pool2d(grid, target_side).flatten(2).transpose(1, 2)


def _load_open_clip(weights: Path) -> nn.Module:
    """Load the image tower of the CLIP model in the folder `weights`."""
    import open_clip

    if not (weights / OPEN_CLIP_WEIGHTS_FILE).exists():  # open_clip would use random weights
        raise InputError(f"{weights} has no {OPEN_CLIP_WEIGHTS_FILE}")
    try:
        with without_byte_order_marks(weights) as folder:
            model: Any = open_clip.create_model(f"local-dir:{folder}", output_dict=False)
    except Exception as error:  # open_clip raises many types of errors for damaged files
        raise InputError(f"{weights} holds no open_clip model: {error}") from error
    if not hasattr(model.visual, "trunk"):
        model.visual.output_tokens = True  # return the patch tokens after ln_post, too
    visual: nn.Module = model.visual
    return visual


def _load_timm(architecture: str, weights: Path) -> nn.Module:
    """Create a model of timm without its classifier, and load the weights of the PyTorch port."""
    import timm

    try:
        trunk: Any = timm.create_model(architecture, num_classes=0, global_pool="")
        state = torch.load(weights, map_location="cpu", weights_only=True)
        trunk.load_state_dict(_to_timm_names(state, [len(stage) for stage in trunk.blocks]))
    except Exception as error:  # timm and torch raise many types of errors
        raise InputError(f"{weights} has no weights of {architecture}: {error}") from error
    visual: nn.Module = trunk
    return visual


_EFFICIENTNET = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
_DEPTHWISE_BLOCK = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_INVERTED_RESIDUAL = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def _to_timm_names(state: dict[str, Tensor], depths: list[int]) -> dict[str, Tensor]:
    """Rename the tensors of lukemelas' PyTorch port of EfficientNet to timm's names.

    The port numbers its blocks from the first to the last, timm within each stage. The classifier
    is left out. `load_state_dict` finds tensors that are missing or have another shape.

    Args:
        state: The state dict of the port.
        depths: The number of blocks of each stage.

    Raises:
        KeyError: The state dict has a tensor that is not part of an EfficientNet.
    """
    blocks = [f"blocks.{stage}.{i}" for stage, depth in enumerate(depths) for i in range(depth)]
    renamed = {}
    for name, tensor in state.items():
        if name.startswith("_fc."):
            continue
        if block := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
            number, layer, leaf = block.groups()
            expands = f"_blocks.{number}._expand_conv.weight" in state
            layers = _INVERTED_RESIDUAL if expands else _DEPTHWISE_BLOCK
            renamed[f"{blocks[int(number)]}.{layers[layer]}.{leaf}"] = tensor
        else:
            layer, leaf = name.split(".")
            renamed[f"{_EFFICIENTNET[layer]}.{leaf}"] = tensor
    return renamed
