"""The names of the ImageNet classes that a vision tower's classifier recognizes in a picture."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmtui.errors import InputError

_MIN_PROBABILITY = 0.02  # less probable classes are left out, except for the most probable one
_MARGIN = 1 / 5  # share of a picture's side that `_crop_middle` removes at each edge

Array = NDArray[np.float32]


class Classifier:
    """The last layer of an EfficientNet, applied to patch features."""

    def __init__(self, weight: Array, bias: Array, classes: Sequence[str], max_names: int) -> None:
        """Create a classifier from the parameters of the layer.

        Args:
            weight: The weight of the layer (classes, width).
            bias: The bias of the layer (classes,).
            classes: The names of the classes.
            max_names: The maximum number of names that `classify` returns.
        """
        self.weight, self.bias = weight, bias
        self.classes = tuple(classes)
        self._max_names = max_names

    def classify(self, features: Array) -> str:
        """Return the most probable classes with percentages, such as "tabby 61, tiger cat 20".

        The probabilities are the mean of those for the whole picture and those for its middle,
        where its subject often is. The names are in lower case, as answers are taught: a small
        language model copies them token by token, and "Egyptian" has other tokens than "egyptian".

        Args:
            features: Patch features (patches, width); the patches form a square.
        """
        means = np.stack([features.mean(axis=0), _crop_middle(features).mean(axis=0)])
        logits = means @ self.weight.T + self.bias
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = (exponentials / exponentials.sum(axis=1, keepdims=True)).mean(axis=0)
        best = np.argsort(-probabilities, kind="stable")[: self._max_names]
        return ", ".join(
            f"{self.classes[index].lower()} {100 * probabilities[index]:.0f}"
            for rank, index in enumerate(best)
            if rank == 0 or probabilities[index] >= _MIN_PROBABILITY
        )


def _crop_middle(patches: Array) -> Array:
    """Remove the margin of a square grid of patches (rows * columns, width)."""
    side = math.isqrt(len(patches))
    margin = round(_MARGIN * side)
    grid = patches.reshape(side, side, -1)
    return grid[margin : side - margin, margin : side - margin].reshape(-1, grid.shape[-1])


def load_classifier(weights: Path, max_names: int) -> Classifier:
    """Load the ImageNet classifier from the weights of an EfficientNet, with torch.

    Args:
        weights: A .pth file in the layout of lukemelas' PyTorch port.
        max_names: The maximum number of names that `Classifier.classify` returns.

    Raises:
        InputError: The file has no classifier, or one for other classes than ImageNet's.
    """
    import torch

    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        weight, bias = state["_fc.weight"].float().numpy(), state["_fc.bias"].float().numpy()
    except Exception as error:  # torch raises many types of errors for damaged files
        raise InputError(f"{weights} has no classifier", 'set "names" in spec.json to 0') from error
    classes = list_imagenet_classes()
    if len(weight) != len(classes):
        raise InputError(
            f"{weights} has {len(weight)} classes instead of ImageNet's 1000",
            'set "names" in spec.json to 0',
        )
    return Classifier(weight, bias, classes, max_names)


def list_imagenet_classes() -> list[str]:
    """Return the first name of each of the 1000 classes of ImageNet, by class index."""
    from timm.data import ImageNetInfo

    info: Any = ImageNetInfo()
    return [info.index_to_description(index).split(",")[0] for index in range(1000)]
