"""The boxes of text are those that RapidOCR finds itself."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from mmtui.errors import MissingError
from mmtui.pipeline.reading.detector import STRIDE, TextDetector, find_models


@pytest.fixture(scope="module")
def rapidocr_detector():
    from rapidocr import RapidOCR

    model = str(find_models() / "PP-OCRv6_det_small.onnx")
    params = {
        "Global.log_level": "critical", "Global.use_vertical_padding": False,
        "Det.limit_type": "max", "Det.limit_side_len": 2000, "Det.model_path": model,
    }  # fmt: skip
    return RapidOCR(params=params)


def test_boxes_are_those_of_rapidocr(rapidocr_detector):
    image = Image.new("RGB", (20 * STRIDE, 15 * STRIDE), "white")
    drawing, font = ImageDraw.Draw(image), ImageFont.load_default(30)
    for row in range(5):
        for column in range(2):
            words = f"Word {row} {column}"
            drawing.text((40 + 300 * column, 30 + 80 * row + 4 * column), words, "navy", font)
    slanted = image.rotate(10, Image.Resampling.BICUBIC, fillcolor="white")
    detector = TextDetector(threads=1)
    for picture in (image, slanted):
        pixels = np.ascontiguousarray(np.asarray(picture)[:, :, ::-1])
        _, expected = rapidocr_detector.detect_and_crop(pixels, {})
        boxes = detector.detect(pixels)
        assert boxes.tolist() == np.asarray(expected.boxes, np.float32).tolist()
        assert len(boxes) >= 10


def test_a_missing_rapidocr_is_named(monkeypatch):
    monkeypatch.setattr("mmtui.pipeline.reading.detector.find_spec", lambda _: None)
    with pytest.raises(MissingError, match="rapidocr is not installed"):
        TextDetector(threads=1)


def test_rapidocr_is_not_imported_for_a_picture_without_text():
    code = """
import sys
from PIL import Image
from mmtui.pipeline.reading.reader import TextReader
assert TextReader().read(Image.linear_gradient("L").convert("RGB")) == ()
print([name for name in ("rapidocr", "cv2", "omegaconf") if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
