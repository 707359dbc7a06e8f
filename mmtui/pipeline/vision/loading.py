"""Loading of the vision encoder: ONNX Runtime on the CPU, torch on a GPU.

Towers of transformers run on torch everywhere: they are large, and so would be the file for ONNX.
"""

import logging
from pathlib import Path

from mmtui.pipeline.assets import fetch
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.assets.spec import Asset, ModelSpec, Part, VisionSpec
from mmtui.pipeline.vision.encoder import VisionEncoder


def runs_on_onnx(spec: VisionSpec) -> bool:
    """Return whether the tower runs on ONNX Runtime on the CPU, if it can be exported."""
    return spec.architecture != "transformers"


def load_vision(
    spec: ModelSpec,
    projector: Asset,
    hidden_size: int,
    device: str,
    report: Report = ignore_progress,
) -> VisionEncoder:
    """Fetch and load the vision tower and the projector of a model.

    Args:
        spec: The model, which has a vision tower.
        projector: The weights of its projector.
        hidden_size: Embedding size of the language model.
        device: The device to compute on, "cpu" or "cuda".
        report: Called as the weights are fetched and loaded.

    Raises:
        MissingError: The weights can't be fetched.
        InputError: They are damaged, or for another model.
    """
    assert spec.vision is not None
    report("loading the vision tower", 0, 1)
    encoder = load_encoder(
        spec.vision,
        fetch.fetch(projector, report),
        hidden_size,
        activation=spec.projector.activation,
        part=projector.part,
        device=device,
        report=report,
    )
    report("loading the vision tower", 1, 1)
    return encoder


def load_encoder(
    spec: VisionSpec,
    projector: Path,
    hidden_size: int,
    *,
    activation: str = "gelu",
    part: Part | None = None,
    device: str = "cpu",
    report: Report = ignore_progress,
) -> VisionEncoder:
    """Fetch and load the encoder of pictures.

    A tower that can't be exported to ONNX runs on torch, also on the CPU.

    Args:
        spec: The vision tower.
        projector: The trained weights of the projector.
        hidden_size: Embedding size of the language model, which the projector must produce.
        activation: The activation of the projector, by its name in transformers.
        part: Where the projector is in the folder `projector`.
        device: The device to compute on, "cpu" or "cuda".
        report: Receives the progress of fetching and exporting weights.

    Raises:
        MissingError: The weights can't be fetched.
        InputError: The weights are damaged, or do not fit the spec or the language model.
    """
    weights = fetch.fetch(spec.weights, report)
    if device == "cpu" and runs_on_onnx(spec):
        from mmtui.pipeline.vision import onnx_export
        from mmtui.pipeline.vision.onnx_encoder import OnnxEncoder

        try:
            folder = onnx_export.export(spec, weights, projector, hidden_size, report)
            return OnnxEncoder(spec, folder)
        except onnx_export.ExportError:
            logging.getLogger(__name__).warning(
                "the vision tower can't be exported to ONNX; it runs on torch"
            )
    from mmtui.pipeline.vision.torch_encoder import TorchEncoder

    return TorchEncoder(
        spec, weights, projector, hidden_size, activation=activation, part=part, device=device
    )
