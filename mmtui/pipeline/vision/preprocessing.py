"""Preprocessing of pictures for a vision tower."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmtui.pipeline.assets.spec import VisionSpec

# Cached features of pictures are computed again when this number changes. Increase it when the
# pixels change that `images.decode` or `preprocess` returns.
PREPROCESSING_VERSION = 1
# Largest ratio of the sides of a picture that is resized as a whole, by the spec's processor.
_MAX_RATIOS = {"torchvision": 2, "transformers": 64}
_MAX_PADDED = 8192  # side in pixels, which takes 0.2 GB


def preprocess(image: Image.Image, spec: VisionSpec) -> NDArray[np.float32]:
    """Resize a picture to a square and normalize it, as the spec says.

    With the spec's defaults, the result is bit-identical to that of torchvision's Resize,
    CenterCrop, ToTensor and Normalize, which open_clip and timm use. torchvision is not used
    because importing it takes seconds.

    Args:
        image: An RGB picture.
        spec: How it is resized, cropped and normalized.

    Returns:
        Pixels in fp32 (3, image_size, image_size).
    """
    square = resize_to_square(image, spec)
    pixels = np.asarray(square, np.float32).transpose(2, 0, 1) / np.float32(255)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (spec.mean, spec.std))
    return np.ascontiguousarray((pixels - mean) / std)


def resize_to_square(image: Image.Image, spec: VisionSpec) -> Image.Image:
    """Crop, stretch or pad a picture to the square of `image_size` pixels that the tower gets."""
    size, resample = spec.image_size, Image.Resampling[spec.resample.upper()]
    if spec.resize == "pad":
        image = _pad_to_square(image, spec.mean)
    if spec.resize != "shorter side":
        return image.resize((size, size), resample)
    scaled_short = spec.resize_to or size
    image = _crop_extremes(image, _MAX_RATIOS[spec.processor])
    short, long = sorted(image.size)
    scaled_long = int(scaled_short * long / short)
    is_upright = image.width <= image.height
    shape = (scaled_short, scaled_long) if is_upright else (scaled_long, scaled_short)
    resized = image.resize(shape, resample)
    if spec.processor == "torchvision":
        left, top = (round((side - size) / 2) for side in resized.size)
    else:
        left, top = ((side - size) // 2 for side in resized.size)
    return resized.crop((left, top, left + size, top + size))


def _crop_extremes(image: Image.Image, ratio: int) -> Image.Image:
    """Crop a picture to a ratio of at most `ratio` to 1, around its centre.

    Resizing a strip that is one pixel wide would exhaust the memory.
    """
    short = min(image.size)
    width, height = (min(side, ratio * short) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _pad_to_square(image: Image.Image, mean: tuple[float, float, float]) -> Image.Image:
    """Center a picture in a square of the mean colour, as transformers' LlavaImageProcessor does.

    A very long picture is made smaller first: padding a strip that is one pixel wide would take all
    memory.
    """
    if max(image.size) > _MAX_PADDED:
        image = image.copy()
        image.thumbnail((_MAX_PADDED, _MAX_PADDED))
    side = max(image.size)
    square = Image.new("RGB", (side, side), tuple(int(value * 255) for value in mean))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square
