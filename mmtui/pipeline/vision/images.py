"""Bytes of an image file -> an upright RGB picture, as a viewer would show it."""

import hashlib
import io
import math
import warnings
from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from mmtui.errors import InputError
from mmtui.pipeline.vision import incomplete, png

# Memory that decoding a picture may take. A photo of 200 megapixels takes 0.8 GB as PNG, and
# 0.1 GB as JPEG, which is decoded at a smaller scale.
MAX_BYTES = 1_500_000_000
MAX_PIXELS = 300_000_000  # the largest photos have 200 million
# A large picture is scaled down while it is decoded, by a whole number, as long as its shorter
# side keeps this many pixels. The model sees a few hundred of them, a page of an export 1200.
DETAIL = 2048
# Raster formats that Pillow decodes by itself: no PostScript, no fonts, no video.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "PPM", "ICO", "TGA")
# Bytes for each pixel while a picture is decoded: of some formats beside their own pixels,
_FORMAT_BYTES = {"WEBP": 12, "AVIF": 8, "HEIF": 8}
# and of the pixels as Pillow keeps them, with what their conversion takes.
_MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 8, "I;16B": 8, "I": 20, "F": 20}
_STRIP = 256  # rows of a large picture that are converted at a time
_SCALE_DOWN = "scale it down; the model sees a few hundred pixels anyway"

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnsupportedImageError(InputError):
    """The bytes are in no image format that we know."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An RGB picture.

    Attributes:
        sha256: That of the file's bytes: the same bytes, the same picture.
        image: The pixels; fewer than the file has, if it is large.
        names: What the vision tower takes it for; a prompt has it beside the picture.
        size: Width and height in the file, upright; (0, 0) where there is no file.
        notes: What a person should know about the file, such as that it is cut off.
    """

    sha256: str
    image: Image.Image
    names: str = ""
    size: tuple[int, int] = (0, 0)
    notes: tuple[str, ...] = ()


def make_placeholder(sha256: str, names: str = "") -> Picture:
    """A picture whose features are there already: of its pixels nothing is needed."""
    return Picture(sha256, Image.new("RGB", (1, 1)), names)


def decode(data: bytes) -> Picture:
    """Decode the first picture in a file.

    Raises:
        UnsupportedImageError: It is no picture.
        InputError: It is too damaged, or decoding it takes too much memory.
    """
    _register_formats()
    profile: bytes | None = None
    notes: list[str] = []
    source = data
    if data.startswith(png.SIGNATURE):
        chunks = png.read(data)
        source, profile = chunks.data, chunks.profile
        if chunks.is_damaged:
            notes.append("the picture is damaged: its checksum does not match")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of sizes below our limit
            image, note = _load(source)
            if note is not None:
                notes = [note]
            orientation = _orientation(image)
            width, height = image.info["full_size"]
            rgb = _to_rgb(image, profile or image.info.get("icc_profile"))
    except Image.DecompressionBombError as error:
        raise InputError(
            f"the picture has more than {MAX_PIXELS // 1_000_000} megapixels, the limit",
            _SCALE_DOWN,
        ) from error
    except UnidentifiedImageError as error:
        if _begins_like_a_picture(data):
            raise InputError("the picture is cut off or damaged", incomplete.HINT) from error
        raise UnsupportedImageError(
            "this is not a picture that mmtui can read",
            "JPEG, PNG, WebP, GIF, HEIC, AVIF, TIFF and BMP work",
        ) from error
    except (InputError, MemoryError):
        raise
    # Pillow's decoders raise nearly anything on damaged files; each means the same to the user.
    except Exception as error:
        raise InputError(f"the picture is cut off or damaged: {error}", incomplete.HINT) from error
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    size = (height, width) if orientation >= 5 else (width, height)
    return Picture(hashlib.sha256(data).hexdigest(), rgb, size=size, notes=tuple(notes))


def _register_formats() -> None:
    import pi_heif

    pi_heif.register_heif_opener()
    Image.init()
    # Pillow refuses twice as many, at 179 megapixels by default; `_check_memory` is the real limit.
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2


def _begins_like_a_picture(data: bytes) -> bool:
    checks = (Image.OPEN[name][1] for name in FORMATS if name in Image.OPEN)
    return any(check is not None and check(data[:16]) is True for check in checks)


def _load(data: bytes) -> tuple[Image.Image, str | None]:
    """The decoded file, and what is missing of it."""
    try:
        image = _open(data)
        image.load()
    except (InputError, MemoryError, Image.DecompressionBombError):
        raise
    except Exception:
        if (salvaged := incomplete.salvage(data, _open)) is None:
            raise
        return salvaged
    return image, None


def _open(data: bytes) -> ImageFile:
    """Read the header, and choose the scale at which the pixels will be decoded."""
    known = [name for name in FORMATS if name in Image.OPEN]  # builds differ
    image = Image.open(io.BytesIO(data), formats=known)
    size = image.size
    image.draft(None, (DETAIL, DETAIL))  # of a JPEG; others are scaled when they are converted
    image.info["full_size"] = size
    _check_memory(image)
    return image


def _check_memory(image: ImageFile) -> None:
    width, height = image.info["full_size"]
    decoded = image.width * image.height
    needed = decoded * (_MODE_BYTES.get(image.mode, 4) + _FORMAT_BYTES.get(image.format or "", 0))
    if image.info.get("progressive"):  # all coefficients are kept, 2 bytes each
        needed += width * height * 2 * len(image.getbands())
    if needed > MAX_BYTES:
        takes, limit = math.ceil(needed / 1e8) / 10, MAX_BYTES / 1e9
        raise InputError(
            f"decoding a picture of {width} x {height} pixels takes {takes:.1f} GB of memory;"
            f" {limit:.1f} GB is the limit",
            _SCALE_DOWN,
        )


def _orientation(image: Image.Image) -> int:
    """As Exif counts them; 1 is upright, which is also taken where Exif is garbage."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # the parser raises nearly anything
        return 1
    return found if found in _UPRIGHT else 1


def _to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = _eight_bits(image)
    factor = max(1, min(image.size) // DETAIL)
    if factor == 1:
        return _flat(image, profile)
    rgb = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    step = max(1, _STRIP // factor) * factor
    for top in range(0, image.height, step):
        strip = image.crop((0, top, image.width, min(top + step, image.height)))
        rgb.paste(_flat(strip, profile).reduce(factor), (0, top // factor))
    return rgb


def _flat(image: Image.Image, profile: bytes | None) -> Image.Image:
    """In sRGB, and on white paper where it is transparent."""
    if image.has_transparency_data:  # alpha, or a transparent colour
        rgba = image.convert("RGBA")
        paper = Image.new("RGBA", rgba.size, "white")
        image = Image.alpha_composite(paper, rgba).convert("RGB")
    elif image.mode == "LAB":
        image = cast(
            Image.Image,
            ImageCms.profileToProfile(
                image,
                ImageCms.createProfile("LAB"),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            ),
        )
    elif image.mode not in ("RGB", "CMYK", "L"):
        image = image.convert("RGB")
    return _to_srgb(image, profile).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Of grey of 16 bits the high byte; 32 bits and floats have no scale: they are stretched."""
    values = np.asarray(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and 255 < values.max() <= 65535):
        grey = Image.fromarray((values >> 8).astype(np.uint8))
        if isinstance(key := image.info.get("transparency"), int):
            grey.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
        return grey
    values = np.nan_to_num(values.astype(np.float32))
    low, high = float(values.min()), float(values.max())
    values -= low
    values *= 255.0 / max(high - low, 1e-9)
    return Image.fromarray(np.rint(values, out=values).astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if not profile:
        return image
    try:
        converted = ImageCms.profileToProfile(
            image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image  # viewers ignore a profile that does not fit the picture
    return image if converted is None else converted
