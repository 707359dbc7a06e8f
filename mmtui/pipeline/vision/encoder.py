"""Encoding a picture for the language model, whatever library computes it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mmtui.pipeline.vision.images import Picture


@dataclass(frozen=True)
class EncodedPicture:
    """A picture as a prompt contains it.

    Attributes:
        features: Projected patch features, float32 (patches, hidden_size).
        names: What a classifier recognizes, such as "tabby 61, tiger cat 20" (percent); "" for a
            vision tower without a classifier.
    """

    features: np.ndarray
    names: str


class VisionEncoder(Protocol):
    """A vision tower with its projector, and its classifier if it has one."""

    def encode(self, picture: Picture) -> EncodedPicture:
        """Return the projected patch features and the names of a picture."""
