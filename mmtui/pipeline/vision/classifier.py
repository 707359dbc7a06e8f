"""What a vision tower's own classifier recognizes in a picture, in words."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmtui.errors import InputError

_MIN_PROBABILITY = 0.02  # a class below it is not named beside the most probable one
_EDGE = 1 / 5  # of a picture's width does not belong to its middle, on each side

Array = NDArray[np.float32]


class Classifier:
    """The last layer of an EfficientNet, applied to patch features."""

    def __init__(self, weight: Array, bias: Array, classes: Sequence[str], most: int) -> None:
        """Take the layer's parameters.

        Args:
            weight: (classes, width)
            bias: (classes,)
            classes: Their names.
            most: How many classes are named.
        """
        self.weight, self.bias = weight, bias
        self.classes = tuple(classes)
        self._most = most

    def classify(self, features: Array) -> str:
        """Return the most probable classes with percentages, such as "tabby 61, tiger cat 20".

        The probabilities are the mean of two: for all of the picture, and for its middle, where
        its subject often is.

        Args:
            features: Patch features (patches, width); the patches form a square.
        """
        means = np.stack([features.mean(axis=0), _crop_middle(features).mean(axis=0)])
        logits = means @ self.weight.T + self.bias
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = (exponentials / exponentials.sum(axis=1, keepdims=True)).mean(axis=0)
        best = np.argsort(-probabilities, kind="stable")[: self._most]
        return ", ".join(
            f"{self.classes[index]} {100 * probabilities[index]:.0f}"
            for rank, index in enumerate(best)
            if rank == 0 or probabilities[index] >= _MIN_PROBABILITY
        )


def _crop_middle(patches: Array) -> Array:
    """Return the patches of a square grid (rows * columns, width) that are not at its edges."""
    side = math.isqrt(len(patches))
    edge = round(_EDGE * side)
    grid = patches.reshape(side, side, -1)
    return grid[edge : side - edge, edge : side - edge].reshape(-1, grid.shape[-1])


def load_classifier(weights: Path, most: int) -> Classifier:
    """Read the classifier of ImageNet's classes from an EfficientNet's weights, with torch.

    Args:
        weights: Weights in the layout of lukemelas' PyTorch port.
        most: How many classes are named.

    Raises:
        InputError: They hold no classifier, or one of other classes.
    """
    import torch

    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        weight, bias = state["_fc.weight"].float().numpy(), state["_fc.bias"].float().numpy()
    except Exception as error:  # torch raises nearly anything on what is no checkpoint
        raise InputError(f"{weights} hold no classifier", "its spec must have no names") from error
    classes = list_imagenet_classes()
    if len(weight) != len(classes):
        raise InputError(
            f"{weights} know {len(weight)} classes, not ImageNet's 1000",
            "its spec must have no names",
        )
    return Classifier(weight, bias, classes, most)


def list_imagenet_classes() -> list[str]:
    """Return the first name of each of ImageNet's 1000 classes, in the order of their indexes."""
    from timm.data import ImageNetInfo

    info: Any = ImageNetInfo()
    return [info.index_to_description(index).split(",")[0] for index in range(1000)]
