"""The interface of vision encoders, which turn pictures into input of the language model."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mmtui.pipeline.vision.images import Picture


@dataclass(frozen=True)
class EncodedPicture:
    """The representation of a picture in a prompt.

    Attributes:
        features: Projected patch features, float32 (patches, hidden_size).
        names: The most probable classes with percentages, such as "tabby 61, tiger cat 20"; ""
            for a vision tower without a classifier.
    """

    features: np.ndarray
    names: str


class VisionEncoder(Protocol):
    """A vision tower with its projector and, if it has one, its classifier."""

    def encode(self, picture: Picture) -> EncodedPicture:
        """Return the projected patch features and the class names of a picture."""
