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
        layout: The tokens between which the patches are in a prompt, with None for each patch;
            empty if there are only patches.
    """

    features: np.ndarray
    names: str
    layout: tuple[int | None, ...] = ()


class VisionEncoder(Protocol):
    """A vision tower with its projector and, if it has one, its classifier."""

    def encode(self, picture: Picture) -> EncodedPicture:
        """Return the projected patch features and the class names of a picture."""
