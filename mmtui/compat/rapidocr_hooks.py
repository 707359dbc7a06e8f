"""What rapidocr does not document. See `mmtui.compat` for the versions."""

import sys
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

_MAX_BOXES = 1000  # this and the following are RapidOCR's defaults
_UNCLIP_RATIO = 1.6  # how much larger a text is than its core, which the network finds
_lock = Lock()


def import_rapidocr() -> None:
    """Import rapidocr in a third of the time that it takes otherwise.

    Its modules parse the table of all models that it can download, twice. Here, this table is
    empty, because models are passed as paths.
    """
    with _lock:
        if "rapidocr.main" in sys.modules:
            return
        load = OmegaConf.load

        def load_without_table(file: str | Path) -> object:
            return DictConfig({}) if Path(file).name == "default_models.yaml" else load(file)

        setattr(OmegaConf, "load", staticmethod(load_without_table))  # noqa: B010
        try:
            import rapidocr

            _ = rapidocr.RapidOCR  # is imported only when it is used
        finally:
            setattr(OmegaConf, "load", staticmethod(load))  # noqa: B010


def find_boxes(
    probabilities: NDArray[np.float32], min_probability: float, min_box_probability: float
) -> NDArray[np.float32]:
    """Return the boxes of pieces of text (pieces, 4, 2), from top to bottom.

    Args:
        probabilities: Those of the detection network (1, 1, height, width).
        min_probability: The least probability of a pixel of a text.
        min_box_probability: The least mean probability of a box.
    """
    import_rapidocr()
    from rapidocr.ch_ppocr_det import TextDetector
    from rapidocr.ch_ppocr_det.utils import DBPostProcess

    find = DBPostProcess(
        min_probability, min_box_probability, _MAX_BOXES, _UNCLIP_RATIO, use_dilation=True
    )
    boxes, _ = find(probabilities, probabilities.shape[2:])
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4, 2)
    sorted_boxes: NDArray[np.float32] = TextDetector.sorted_boxes(boxes)
    return sorted_boxes


def crop_box(pixels: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the pixels of a box (4, 2), which may be slanted, as an upright picture."""
    from rapidocr.utils.process_img import get_rotate_crop_image

    crop: NDArray[np.uint8] = get_rotate_crop_image(pixels, box.copy())
    return crop
