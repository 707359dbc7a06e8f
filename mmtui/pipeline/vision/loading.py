"""Loading what encodes pictures: on ONNX Runtime on a CPU, on torch on a GPU."""

import logging
from pathlib import Path

from mmtui.pipeline.assets import fetch
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.assets.spec import VisionSpec
from mmtui.pipeline.vision.encoder import VisionEncoder


def load_encoder(
    spec: VisionSpec,
    projector: Path,
    hidden_size: int,
    *,
    device: str = "cpu",
    report: Report = ignore_progress,
) -> VisionEncoder:
    """Fetch and load what encodes pictures.

    Args:
        spec: The vision tower.
        projector: The trained weights of the projector.
        hidden_size: Embedding size of the language model, which the projector must produce.
        device: Where to compute, "cpu" or "cuda".
        report: Called as weights are fetched.

    Raises:
        MissingError: The weights can't be fetched.
        InputError: The weights are damaged, or do not fit the spec or the language model.
    """
    weights = fetch.fetch(spec.weights, report)
    if device == "cpu":
        from mmtui.pipeline.vision import onnx_export
        from mmtui.pipeline.vision.onnx_encoder import OnnxEncoder

        try:
            folder = onnx_export.export(spec, weights, projector, hidden_size, report)
            return OnnxEncoder(spec, folder)
        except onnx_export.ExportError:
            logging.getLogger(__name__).warning("the vision tower can't be exported; torch runs it")
    from mmtui.pipeline.vision.torch_encoder import TorchEncoder

    return TorchEncoder(spec, weights, projector, hidden_size, device=device)
