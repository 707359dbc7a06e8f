"""Vision towers that run on ONNX Runtime on the CPU, without torch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmtui import machine
from mmtui.pipeline.assets.spec import VisionSpec
from mmtui.pipeline.vision.classifier import Classifier
from mmtui.pipeline.vision.encoder import EncodedPicture
from mmtui.pipeline.vision.images import Picture
from mmtui.pipeline.vision.onnx_export import CLASSES_FILE, CLASSIFIER_FILE, MODEL_FILE
from mmtui.pipeline.vision.preprocessing import preprocess


class OnnxEncoder:
    """A vision tower, its projector and its classifier in a folder that `onnx_export` wrote."""

    def __init__(self, spec: VisionSpec, folder: Path) -> None:
        """Load the network and the classifier from the folder."""
        self._spec, self._session = spec, _create_session(folder)
        self._classifier = _load_classifier(folder, spec.names) if spec.names else None

    def encode(self, picture: Picture) -> EncodedPicture:
        """Return the projected patch features and the class names of a picture."""
        pixels = preprocess(picture.image, self._spec)[None]
        patches, features = self._session.run(["patches", "features"], {"pixels": pixels})
        names = self._classifier.classify(patches) if self._classifier else ""
        return EncodedPicture(features, names)


class OnnxTower:
    """A vision tower in a folder that `onnx_export` wrote, without a projector."""

    def __init__(self, spec: VisionSpec, folder: Path) -> None:
        """Load the network from the folder."""
        self._spec, self._session = spec, _create_session(folder)

    def encode(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return the patch features of RGB pictures (len(images), patches, width)."""
        pixels = (preprocess(image, self._spec)[None] for image in images)
        return np.stack([self._session.run(["patches"], {"pixels": each})[0] for each in pixels])


def _create_session(folder: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = machine.count_cores()
    # Threads that spin after a picture would slow down the language model.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        folder / MODEL_FILE, options, providers=["CPUExecutionProvider"]
    )


def _load_classifier(folder: Path, max_names: int) -> Classifier:
    from safetensors.numpy import load_file

    layer = load_file(folder / CLASSIFIER_FILE)
    classes = json.loads((folder / CLASSES_FILE).read_bytes())
    return Classifier(layer["weight"], layer["bias"], classes, max_names)
