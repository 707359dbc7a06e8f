"""Preprocessing of pictures for a vision tower."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmtui.pipeline.assets.spec import VisionSpec


def preprocess(image: Image.Image, spec: VisionSpec) -> NDArray[np.float32]:
    """Resize the shorter side of a picture (bicubic), crop the centre and normalize.

    The result is bit-identical to that of torchvision's Resize, CenterCrop, ToTensor and
    Normalize, which open_clip and timm use. torchvision is not used because importing it takes
    seconds.

    Args:
        image: An RGB picture.
        spec: The vision tower, with the size of the square and the mean and standard deviation of
            each channel.

    Returns:
        Pixels in fp32 (3, image_size, image_size).
    """
    size = spec.image_size
    image = _crop_extremes(image)
    short, long = sorted(image.size)
    scaled = int(size * long / short)
    shape = (size, scaled) if image.width <= image.height else (scaled, size)
    resized = image.resize(shape, Image.Resampling.BICUBIC)
    left, top = (round((side - size) / 2) for side in resized.size)
    cropped = resized.crop((left, top, left + size, top + size))
    pixels = np.asarray(cropped, np.float32).transpose(2, 0, 1) / np.float32(255)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (spec.mean, spec.std))
    return np.ascontiguousarray((pixels - mean) / std)


def _crop_extremes(image: Image.Image) -> Image.Image:
    """Crop a picture to a ratio of at most 2 to 1, around its centre.

    Resizing a strip that is one pixel wide would exhaust the memory.
    """
    short = min(image.size)
    width, height = (min(side, 2 * short) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
