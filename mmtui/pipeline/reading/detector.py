"""Detection of text with PP-OCRv6 (DBNet, arXiv:1911.08947), by RapidOCR on ONNX Runtime.

RapidOCR turns the network's probabilities into boxes. Its import takes as long as half of the
detection, so it is imported only for pictures that may have text: most photos have none.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmtui.errors import MissingError

STRIDE = 32  # the sides of the network's input are multiples of it
_MIN_PROBABILITY = 0.3  # of a pixel of a text; this and the following are RapidOCR's defaults
_MIN_BOX_PROBABILITY = 0.5  # the mean of a box
# The input of the network for each value of a pixel, rounded as RapidOCR rounds it.
_INPUTS = ((np.arange(256).astype(np.float32) * (1 / 255.0) - np.full(1, 0.5)) / 0.5).astype(
    np.float32
)

Boxes = NDArray[np.float32]  # (pieces, 4 corners, x and y)
Pixels = NDArray[np.uint8]  # (height, width, 3), in the order B, G, R


class TextDetector:
    """Finds the boxes of pieces of text; can be used by several threads at once."""

    def __init__(self, threads: int) -> None:
        """Load the network.

        Args:
            threads: How many threads compute.

        Raises:
            MissingError: RapidOCR, which contains the network, is not installed.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        model = find_models() / "PP-OCRv6_det_small.onnx"
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        # Without an arena, the kernel maps the memory of each layer anew, which takes as long as
        # half of the computation. It is given back after each picture.
        self._run_options = onnxruntime.RunOptions()
        self._run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def detect(self, pixels: Pixels) -> Boxes:
        """Return the boxes of pieces of text; their first corner is the top left of the text.

        Args:
            pixels: A picture, whose sides are multiples of STRIDE.
        """
        inputs = {self._input: _INPUTS[np.moveaxis(pixels, 2, 0)][None]}
        (probabilities,) = self._session.run(None, inputs, self._run_options)
        if probabilities.max() < _MIN_BOX_PROBABILITY:
            return np.empty((0, 4, 2), np.float32)
        from mmtui.compat.rapidocr_hooks import find_boxes

        return find_boxes(probabilities, _MIN_PROBABILITY, _MIN_BOX_PROBABILITY)


def find_models() -> Path:
    """Return the folder of RapidOCR's networks, without importing it.

    Raises:
        MissingError: It is not installed.
    """
    spec = find_spec("rapidocr")
    if spec is None or spec.origin is None:
        raise MissingError("rapidocr is not installed", "pip install rapidocr")
    return Path(spec.origin).parent / "models"
