"""A vision tower with its projector, written once as an ONNX file, which runs without torch."""

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

from mmtui.errors import MmtuiError
from mmtui.pipeline.assets.derived import ensure_folder, hash_files
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.assets.spec import VisionSpec

MODEL, CLASSIFIER, CLASSES = "vision.onnx", "classifier.safetensors", "classes.json"
_REVISION = 1  # of what is written here; a change has everything exported anew
_OPSET = 17


class ExportError(MmtuiError):
    """The tower has operations that ONNX can't express."""


def export(
    spec: VisionSpec,
    weights: Path,
    projector_weights: Path,
    hidden_size: int,
    report: Report = ignore_progress,
) -> Path:
    """Return a cached folder with the tower, the projector and the classifier.

    torch is imported only to write it. The network maps `pixels` (1, 3, side, side) to `patches`
    (patches, width) and `features` (patches, hidden size).

    Args:
        spec: The vision tower.
        weights: Its file or folder.
        projector_weights: A safetensors file.
        hidden_size: Embedding size of the language model.
        report: Called before and after it is written.

    Raises:
        InputError: Weights are damaged or don't fit.
        ExportError: The tower can't be exported.
    """
    files = [*_list_files(weights), projector_weights]
    shape = f"{spec.architecture}-{spec.image_size}-{spec.patches}-{spec.width}-{spec.names}"
    name = f"{weights.stem}-{shape}-{hash_files(files)}-onnx-{_REVISION}"
    size = sum(file.stat().st_size for file in files)

    def write(folder: Path) -> None:
        report("preparing the vision tower", 0, 1)
        _write_network(spec, weights, projector_weights, hidden_size, folder / MODEL)
        if spec.names:
            _write_classifier(weights, spec.names, folder)
        report("preparing the vision tower", 1, 1)

    return ensure_folder(name, needed=3 * size, write=write)


def _list_files(weights: Path) -> Sequence[Path]:
    if weights.is_dir():
        return sorted(path for path in weights.iterdir() if path.is_file())
    return [weights]


def _write_network(
    spec: VisionSpec, weights: Path, projector_weights: Path, hidden_size: int, target: Path
) -> None:
    import torch
    from torch import Tensor, nn

    from mmtui.pipeline.vision import projector
    from mmtui.pipeline.vision.tower import VisionTower, average_patches

    class Network(nn.Module):
        """Tower, averaging and projector. The averages are a product: ONNX has no other form."""

        def __init__(self) -> None:
            super().__init__()
            self.tower = VisionTower(spec, weights)
            self.projector = projector.load(projector_weights, spec.width, hidden_size)
            with torch.no_grad():
                features = self.tower(pixels)
            self.tower.average(features)  # refuses what the spec does not say
            identity = torch.eye(features.shape[1])[None]
            self.averages = nn.Buffer(average_patches(identity, spec.patches)[0])

        def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
            patches = self.averages @ self.tower(pixels)[0]
            return patches, self.projector(patches)

    pixels = torch.zeros(1, 3, spec.image_size, spec.image_size)
    network = Network().eval()
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    torch.backends.mha.set_fastpath_enabled(False)  # one operator, which ONNX does not have
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # shapes that are traced as constants are constant
            torch.onnx.export(
                network,
                (pixels,),
                str(target),
                opset_version=_OPSET,
                input_names=["pixels"],
                output_names=["patches", "features"],
                dynamo=False,  # the other exporter takes a package more, and ten times as long
            )
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        raise ExportError(f"the vision tower can't be exported to ONNX: {error}") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
        logger.setLevel(level)


def _write_classifier(weights: Path, most: int, folder: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    from mmtui.pipeline.vision.classifier import load_classifier

    classifier = load_classifier(weights, most)
    weight = np.ascontiguousarray(classifier.weight)  # safetensors would write it transposed
    save_file({"weight": weight, "bias": classifier.bias}, folder / CLASSIFIER)
    (folder / CLASSES).write_text(json.dumps(classifier.classes), encoding="utf-8")
