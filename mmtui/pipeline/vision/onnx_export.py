"""Export of a vision tower and its projector to ONNX, so that they run without torch."""

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

from mmtui.errors import MmtuiError
from mmtui.pipeline.assets.derived import ensure_folder, hash_files
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.assets.spec import VisionSpec

MODEL_FILE = "vision.onnx"
CLASSIFIER_FILE = "classifier.safetensors"
CLASSES_FILE = "classes.json"
_REVISION = 1  # of the export; increase it to export all cached towers again
_OPSET = 17


class ExportError(MmtuiError):
    """The tower has operations that can't be exported to ONNX."""


def export(
    spec: VisionSpec,
    weights: Path,
    projector_weights: Path | None,
    hidden_size: int = 0,
    report: Report = ignore_progress,
) -> Path:
    """Export the tower, the projector and the classifier to the cache, unless this was done before.

    torch is imported only for an export. The network maps `pixels` (1, 3, image_size, image_size)
    to `patches` (patches, width) and, with a projector, `features` (patches, hidden_size), all in
    fp32.

    Args:
        spec: The vision tower.
        weights: The weights of the vision tower, a file or a folder.
        projector_weights: The weights of the projector, a safetensors file; None exports the tower
            without a projector.
        hidden_size: Embedding size of the language model.
        report: Receives the progress of an export.

    Returns:
        The folder with the exported files.

    Raises:
        InputError: The weights are damaged, or do not fit the spec or the language model.
        ExportError: The tower can't be exported.
    """
    files = [*_list_files(weights), *([projector_weights] if projector_weights else [])]
    shape = f"{spec.architecture}-{spec.image_size}-{spec.patches}-{spec.width}-{spec.names}"
    name = f"{weights.stem}-{shape}-{hash_files(files)}-onnx-{_REVISION}"
    size = sum(file.stat().st_size for file in files)

    def write(folder: Path) -> None:
        report("preparing the vision tower", 0, 1)
        _write_network(spec, weights, projector_weights, hidden_size, folder / MODEL_FILE)
        if spec.names:
            _write_classifier(weights, spec.names, folder)
        report("preparing the vision tower", 1, 1)

    return ensure_folder(name, needed=3 * size, write=write)


def _list_files(weights: Path) -> Sequence[Path]:
    if weights.is_dir():
        return sorted(path for path in weights.iterdir() if path.is_file())
    return [weights]


def _write_network(
    spec: VisionSpec,
    weights: Path,
    projector_weights: Path | None,
    hidden_size: int,
    target: Path,
) -> None:
    import torch
    from torch import Tensor, nn

    from mmtui.pipeline.vision import projector
    from mmtui.pipeline.vision.tower import VisionTower, average_patches

    class Network(nn.Module):
        """The tower, the averaging and, if there is one, the projector.

        ONNX has no adaptive average pooling: it is a product with a matrix of the averages.
        """

        def __init__(self) -> None:
            super().__init__()
            self.tower = VisionTower(spec, weights)
            self.projector = (
                projector.load(projector_weights, spec.width, hidden_size)
                if projector_weights
                else None
            )
            with torch.no_grad():
                features = self.tower(pixels)
            self.tower.average(features)  # raises if the features do not fit the spec
            identity = torch.eye(features.shape[1])[None]
            self.averages = nn.Buffer(average_patches(identity, spec.patches)[0])

        def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
            patches = self.averages @ self.tower(pixels)[0]
            return (patches, self.projector(patches)) if self.projector else (patches,)

    pixels = torch.zeros(1, 3, spec.image_size, spec.image_size)
    network = Network().eval()
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    torch.backends.mha.set_fastpath_enabled(False)  # its operator has no ONNX form
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # shapes become constants, as intended
            torch.onnx.export(
                network,
                (pixels,),
                str(target),
                opset_version=_OPSET,
                input_names=["pixels"],
                output_names=["patches", "features"] if projector_weights else ["patches"],
                dynamo=False,  # the newer exporter is ten times slower and needs another package
            )
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        raise ExportError(f"the vision tower can't be exported to ONNX: {error}") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
        logger.setLevel(level)


def _write_classifier(weights: Path, max_names: int, folder: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    from mmtui.pipeline.vision.classifier import load_classifier

    classifier = load_classifier(weights, max_names)
    weight = np.ascontiguousarray(classifier.weight)  # safetensors ignores strides
    save_file({"weight": weight, "bias": classifier.bias}, folder / CLASSIFIER_FILE)
    (folder / CLASSES_FILE).write_text(json.dumps(classifier.classes), encoding="utf-8")
