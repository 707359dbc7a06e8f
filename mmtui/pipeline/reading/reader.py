"""Text recognition with PP-OCRv6 (SVTR, arXiv:2205.00159), by RapidOCR on ONNX Runtime.

The models are files of the package `rapidocr`, so nothing is downloaded.
"""

from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmtui import machine
from mmtui.pipeline.reading.detector import STRIDE, Boxes, Pixels, TextDetector, find_models
from mmtui.pipeline.reading.layout import Piece, order_pieces

READER_VERSION = 1  # raised when the same picture may give another text
# A picture is scaled down to this many pixels to find where text is, and to the second number to
# recognize the text. Smaller pictures are not scaled up: it costs time and finds hardly more.
MAX_DETECTION_SIDE = 1280
MAX_SIDE = 3072
MIN_SIDE = 8  # no letter can be recognized in a picture that is smaller
_MARGIN = 16  # around the picture, so that text at its edge is found
_MIN_CONFIDENCE = 0.6
# If the mean confidence is lower, the picture may be upside down: some pieces are read that way,
# too. Letters that are upside down are often read as others, with a confidence of up to 0.9.
_UPRIGHT_CONFIDENCE = 0.92
_PROBED_PIECES = 6
_PROBE_MARGIN = 0.03
# Pieces of text that are read for a prompt. More do not fit it, and would cost seconds.
MAX_PROMPT_PIECES = 80
_TALL = 1.5  # ratio of height to width from which a piece is taken for rotated text


@dataclass(frozen=True)
class TextLine:
    """A line of text in a picture.

    Attributes:
        text: The recognized text.
        box: Left, top, right and bottom in pixels of the picture.
        confidence: The mean probability of its characters, from 0 to 1.
    """

    text: str
    box: tuple[int, int, int, int]
    confidence: float


class TextReader:
    """Finds and recognizes text; can be used by several threads at once."""

    def __init__(self, threads: int | None = None) -> None:
        """Load the network that finds text; the others are loaded with the first text.

        Args:
            threads: The threads that read one picture; by default half of the cores, which leaves
                the others to a language model that is being loaded.
        """
        self._threads = threads or max(1, machine.count_cores() // 2)
        self._detector = TextDetector(self._threads)
        self._recognizer: Any = None
        self._lock = Lock()  # held while the recognizer is loaded

    def read(self, image: Image.Image, max_pieces: int | None = None) -> tuple[TextLine, ...]:
        """Return the lines of text in an upright RGB picture, in reading order.

        Args:
            image: The picture.
            max_pieces: Read only so many pieces, from the first line on; None reads all.
        """
        if min(image.size) < MIN_SIDE:
            return ()
        scaled = _scale_down(image, MAX_SIDE)
        pixels = np.ascontiguousarray(np.asarray(scaled)[:, :, ::-1])
        boxes = self._detect(scaled)
        if not len(boxes):
            return ()
        turns = 1 if _is_sideways(boxes) else 0
        lines = self._recognize_upright(pixels, boxes, turns, max_pieces)
        factor = image.width / scaled.width
        width, height = image.size
        return tuple(
            replace(line, box=_clip([factor * value for value in line.box], width, height))
            for line in lines
        )

    def read_for_prompt(self, image: Image.Image) -> str:
        """Return as many lines of text in a picture as a prompt can use."""
        return "\n".join(line.text for line in self.read(image, MAX_PROMPT_PIECES))

    def _detect(self, image: Image.Image) -> Boxes:
        """Return the boxes of pieces of text; their first corner is the top left of the text."""
        small = _scale_down(image, MAX_DETECTION_SIDE)
        width, height = small.size
        right, bottom = (-(side + 2 * _MARGIN) % STRIDE for side in small.size)
        margins = ((_MARGIN, _MARGIN + bottom), (_MARGIN, _MARGIN + right), (0, 0))
        pixels = np.pad(np.asarray(small)[:, :, ::-1], margins, mode="edge")
        boxes = self._detector.detect(pixels) - _MARGIN
        limits = np.array([width, height], np.float32)
        boxes = boxes.clip(0, limits) * (np.array(image.size, np.float32) / limits)
        sides = np.linalg.norm(boxes - np.roll(boxes, -1, axis=1), axis=2)
        kept: Boxes = boxes[sides.min(axis=1) >= 2]
        return kept

    def _load_recognizer(self) -> Any:
        """Return RapidOCR, which recognizes text; its network is loaded with the first text."""
        from mmtui.compat.rapidocr_hooks import import_rapidocr

        with self._lock:
            if self._recognizer is None:
                import_rapidocr()
                import rapidocr

                self._recognizer = rapidocr.RapidOCR(
                    params={
                        "Global.log_level": "critical",
                        # A path, because rapidocr would otherwise download a file that is missing.
                        "Rec.model_path": str(find_models() / "PP-OCRv6_rec_small.onnx"),
                        "EngineConfig.onnxruntime.intra_op_num_threads": self._threads,
                        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                    }
                )
        return self._recognizer

    def _recognize_upright(
        self, pixels: Pixels, boxes: Boxes, turns: int, max_pieces: int | None
    ) -> list[TextLine]:
        """Recognize text after so many quarter turns, or two more if it is read better then."""
        lines = self._recognize(pixels, boxes, turns, max_pieces)
        if _mean_confidence(lines) < _UPRIGHT_CONFIDENCE:
            probed = self._recognize(pixels, boxes, turns + 2, _PROBED_PIECES)
            if _mean_confidence(probed) > _mean_confidence(lines) + _PROBE_MARGIN:
                lines = self._recognize(pixels, boxes, turns + 2, max_pieces)
        return [line for line in lines if line.confidence >= _MIN_CONFIDENCE]

    def _recognize(
        self, pixels: Pixels, boxes: Boxes, turns: int, max_pieces: int | None
    ) -> list[TextLine]:
        """Recognize the text of a picture that is turned counterclockwise by quarter turns."""
        from mmtui.compat.rapidocr_hooks import crop_box

        turned = np.ascontiguousarray(np.rot90(pixels, turns))
        upright = _sort_corners(_turn(boxes, pixels.shape[1], pixels.shape[0], turns))
        lines = order_pieces(_to_pieces(upright))
        order = [piece.index for line in lines for piece in line][:max_pieces]
        crops = [crop_box(turned, upright[index]) for index in order]
        found = self._load_recognizer().recognize_txt(crops)
        texts = dict(zip(order, zip(found.txts, found.scores, strict=True), strict=True))
        recognized = (
            [(*texts[piece.index], boxes[piece.index]) for piece in line if piece.index in texts]
            for line in lines
        )
        return [joined for pieces in recognized if (joined := _join(pieces)) is not None]


def _scale_down(image: Image.Image, side: int) -> Image.Image:
    """Return a picture whose sides are at most `side` pixels."""
    if max(image.size) <= side:
        return image
    width, height = (max(1, round(length * side / max(image.size))) for length in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def _is_sideways(boxes: Boxes) -> bool:
    """Return whether most of the text goes up or down."""
    widths, heights = np.ptp(boxes[:, :, 0], axis=1), np.ptp(boxes[:, :, 1], axis=1)
    tall = heights >= _TALL * widths
    return bool(heights[tall].sum() > widths[~tall].sum())


def _turn(boxes: Boxes, width: int, height: int, turns: int) -> Boxes:
    """Turn boxes counterclockwise, as `np.rot90` turns the picture around them."""
    for _ in range(turns % 4):
        x, y = boxes[:, :, 0], boxes[:, :, 1]
        boxes = np.stack([y, width - x], axis=2)
        width, height = height, width
    return boxes


def _sort_corners(boxes: Boxes) -> Boxes:
    """Sort the corners of each box clockwise, from the one at the top left."""
    first = boxes.sum(axis=2).argmin(axis=1)
    order = (first[:, None] + np.arange(4)) % 4
    return np.take_along_axis(boxes, order[:, :, None], axis=1)


def _to_pieces(boxes: Boxes) -> list[Piece]:
    """Return the pieces of text after the slope of the lines is taken out."""
    edges = boxes[:, 1] - boxes[:, 0]
    angle = float(np.median(np.arctan2(edges[:, 1], edges[:, 0])))
    cos, sin = np.cos(angle), np.sin(angle)
    straight = boxes @ np.array([[cos, -sin], [sin, cos]], np.float32)
    return [
        Piece(index, *map(float, (*box.min(axis=0), *box.max(axis=0))))
        for index, box in enumerate(straight)
    ]


def _join(pieces: list[tuple[str, float, NDArray[np.float32]]]) -> TextLine | None:
    """Join the recognized pieces of a line; None if they contain no letter and no digit."""
    kept = [piece for piece in pieces if any(map(str.isalnum, piece[0]))]
    if not kept:
        return None
    corners = np.concatenate([box for _, _, box in kept])
    left, top = map(int, corners.min(axis=0))
    right, bottom = map(int, corners.max(axis=0))
    lengths = [len(text) for text, _, _ in kept]
    return TextLine(
        " ".join(text.strip() for text, _, _ in kept),
        (left, top, right, bottom),
        float(np.average([score for _, score, _ in kept], weights=lengths)),
    )


def _mean_confidence(lines: list[TextLine]) -> float:
    return float(np.mean([line.confidence for line in lines])) if lines else 0.0


def _clip(box: list[float], width: int, height: int) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(value) for value in box)
    return max(0, left), max(0, top), min(width, right), min(height, bottom)
