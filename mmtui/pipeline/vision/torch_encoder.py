"""The vision encoder that runs on torch."""

from pathlib import Path

import numpy as np
import torch

from mmtui.pipeline.assets.spec import Part, VisionSpec
from mmtui.pipeline.vision import projector
from mmtui.pipeline.vision.classifier import load_classifier
from mmtui.pipeline.vision.encoder import EncodedPicture
from mmtui.pipeline.vision.images import Picture
from mmtui.pipeline.vision.tower import VisionTower


class TorchEncoder:
    """A vision tower, its projector and its classifier on one device."""

    def __init__(
        self,
        spec: VisionSpec,
        weights: Path,
        projector_weights: Path,
        hidden_size: int,
        *,
        activation: str = "gelu",
        part: Part | None = None,
        device: str,
    ) -> None:
        """Load the vision tower, the projector and the classifier.

        Args:
            spec: The vision tower.
            weights: The weights of the vision tower, a file or a folder.
            projector_weights: A safetensors file, or a folder that contains a projector.
            hidden_size: Embedding size of the language model.
            activation: The activation of the projector, by its name in transformers.
            part: Where the projector is in its folder.
            device: The device to compute on, "cpu" or "cuda".

        Raises:
            InputError: The weights are damaged, or do not fit the spec or the language model.
        """
        self._tower = VisionTower(spec, weights).to(device)
        self._classifier = load_classifier(weights, spec.names) if spec.names else None
        self._projector = projector.load(
            projector_weights, spec.width, hidden_size, activation=activation, part=part
        ).to(device)

    @torch.inference_mode()
    def encode(self, picture: Picture) -> EncodedPicture:
        """Return the projected patch features and the class names of a picture."""
        patches = self._tower.encode([picture.image])
        features: np.ndarray = self._projector(patches)[0].float().cpu().numpy()
        names = self._classifier.classify(patches[0].cpu().numpy()) if self._classifier else ""
        return EncodedPicture(features, names)
