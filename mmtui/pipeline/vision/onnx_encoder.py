"""The vision encoder that runs on ONNX Runtime on the CPU, without torch."""

import json
from pathlib import Path

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
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = machine.count_cores()
        # Threads that spin after a picture would slow down the language model.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._spec = spec
        self._session = onnxruntime.InferenceSession(
            folder / MODEL_FILE, options, providers=["CPUExecutionProvider"]
        )
        self._classifier = _load_classifier(folder, spec.names) if spec.names else None

    def encode(self, picture: Picture) -> EncodedPicture:
        """Return the projected patch features and the class names of a picture."""
        pixels = preprocess(picture.image, self._spec)[None]
        patches, features = self._session.run(["patches", "features"], {"pixels": pixels})
        names = self._classifier.classify(patches) if self._classifier else ""
        return EncodedPicture(features, names)


def _load_classifier(folder: Path, max_names: int) -> Classifier:
    from safetensors.numpy import load_file

    layer = load_file(folder / CLASSIFIER_FILE)
    classes = json.loads((folder / CLASSES_FILE).read_bytes())
    return Classifier(layer["weight"], layer["bias"], classes, max_names)
