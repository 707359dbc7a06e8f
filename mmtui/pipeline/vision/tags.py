"""What a vision tower's own classifier takes a picture for, in words."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmtui.errors import InputError
from mmtui.pipeline.assets import fetch
from mmtui.pipeline.assets.fetch import Report, silent
from mmtui.pipeline.assets.spec import VisionSpec

LIKELY = 0.02  # a class less likely than this is not named beside the first
EDGE = 1 / 5  # of a picture's width is not its middle, on each side


class Naming:
    """The classifier of an EfficientNet, whose features are already there."""

    def __init__(self, spec: VisionSpec, weights: Path) -> None:
        """Raises InputError for weights without a classifier of ImageNet's 1000 classes."""
        self.classes, self._bias = classifier(weights)
        self._most = spec.names
        self._names = class_names()
        if len(self.classes) != len(self._names):
            raise InputError(
                f"{weights} know {len(self.classes)} classes, not ImageNet's 1000",
                "its spec must have no names",
            )

    def __call__(self, features: Tensor) -> str:
        """Patch features (patches, width) -> "tabby 61, tiger cat 20": classes and percents.

        The means of two looks, at all of the picture and at its middle, where the thing often is.
        """
        every = features.float().to(self.classes.device)
        means = torch.stack([every.mean(0), _middle(every).mean(0)])
        likeliest = (means @ self.classes.T + self._bias).softmax(dim=1).mean(0).topk(self._most)
        chosen = zip(likeliest.values.tolist(), likeliest.indices.tolist(), strict=True)
        return ", ".join(
            f"{self._names[index]} {100 * chance:.0f}"
            for number, (chance, index) in enumerate(chosen)
            if number == 0 or chance >= LIKELY
        )


def _middle(patches: Tensor) -> Tensor:
    """(rows x columns, width) of a square -> the patches that are not at its edges."""
    side = math.isqrt(len(patches))
    edge = round(EDGE * side)
    grid = patches.reshape(side, side, -1)
    middle: Tensor = grid[edge : side - edge, edge : side - edge].flatten(0, 1)
    return middle


def of(spec: VisionSpec, report: Report = silent) -> Naming | None:
    """The naming of a tower, for what has one."""
    return Naming(spec, fetch.fetch(spec.weights, report)) if spec.names else None


def class_names() -> list[str]:
    """Of ImageNet, in the order of its indexes; the first name of each."""
    from timm.data import ImageNetInfo

    info: Any = ImageNetInfo()
    return [info.index_to_description(index).split(",")[0] for index in range(1000)]


def classifier(weights: Path) -> tuple[Tensor, Tensor]:
    """Of an EfficientNet: the weight (classes, width) and the bias of its last layer.

    Raises InputError for weights without one.
    """
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        return state["_fc.weight"], state["_fc.bias"]
    except Exception as error:  # torch raises nearly anything on what is no checkpoint
        raise InputError(f"{weights} hold no classifier", "its spec must have no names") from error
