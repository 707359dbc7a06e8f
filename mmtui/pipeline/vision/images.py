"""Decoding of image files to upright RGB pictures, as an image viewer shows them."""

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

# Memory limit for decoding a picture, in bytes. A photo of 200 megapixels takes 0.8 GB as PNG, and
# 0.1 GB as JPEG, which is decoded at a smaller scale.
MAX_DECODING_BYTES = 1_500_000_000
MAX_PIXELS = 300_000_000  # the largest photos have 200 million
# A large picture is reduced by an integer factor while it is decoded, so that its shorter side has
# at least this many pixels. The model gets a few hundred of them, an exported page shows 1200.
MIN_SIDE = 2048
# Raster formats that Pillow, or pi-heif for it, decodes: no PostScript, no fonts, no video.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "PPM", "ICO", "TGA")
FORMAT_NAMES = "JPEG, PNG, WebP, GIF, HEIC, AVIF, TIFF and BMP"  # the usual ones, for hints
# Peak memory in bytes per pixel that the decoders of some formats take, beside the pixels.
_FORMAT_BYTES = {"WEBP": 12, "AVIF": 8, "HEIF": 8}
# Peak memory in bytes per pixel of the pixels in Pillow, by mode, including their conversion.
_MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 8, "I;16B": 8, "I": 20, "F": 20}
_STRIP = 256  # rows of a large picture that are converted at a time
_SCALE_DOWN_HINT = "scale it down; the model gets only a few hundred pixels"

# The transpositions for the orientations of Exif; 1 is upright.
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnsupportedImageError(InputError):
    """The bytes are not in a supported image format."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An RGB picture.

    Attributes:
        sha256: SHA-256 of the file's bytes, which identifies the picture.
        image: The pixels, at a smaller scale than in the file if it is large.
        names: The classes that the vision tower recognizes, which follow the picture in a prompt.
        text: The lines of text in the picture, which follow it, too; "" if there are none, and None
            if the model does not use them.
        size: Width and height in the file, upright; (0, 0) if there is no file.
        notes: Notes for the user, such as that the file is cut off.
    """

    sha256: str
    image: Image.Image
    names: str = ""
    text: str | None = None
    size: tuple[int, int] = (0, 0)
    notes: tuple[str, ...] = ()


def make_placeholder(sha256: str, names: str = "", text: str | None = None) -> Picture:
    """Create a picture without pixels, for a prompt whose picture has been encoded before."""
    return Picture(sha256, Image.new("RGB", (1, 1)), names, text)


def find_format(data: bytes) -> str:
    """Return the format of a picture that `decode` accepts, as a suffix such as "jpg".

    Only the first bytes are read: Pillow can't open every damaged file that `decode` repairs.
    """
    _register_formats()
    format_ = (_find_signature(data) or "TGA").lower()  # the only format without a signature
    return "jpg" if format_ == "jpeg" else format_


def decode(data: bytes) -> Picture:
    """Decode the first picture in a file.

    Raises:
        UnsupportedImageError: The data is not a picture.
        InputError: The picture is too damaged, or decoding it needs too much memory.
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
            warnings.simplefilter("ignore")  # warnings about metadata and large sizes
            image, note = _load(source)
            if note is not None:
                notes = [note]
            orientation = _get_orientation(image)
            width, height = image.info["full_size"]
            rgb = _to_rgb(image, profile or image.info.get("icc_profile"))
    except Image.DecompressionBombError as error:
        raise InputError(
            f"the picture has more than {MAX_PIXELS // 1_000_000} megapixels, the limit",
            _SCALE_DOWN_HINT,
        ) from error
    except UnidentifiedImageError as error:
        if _find_signature(data) is not None:
            raise InputError("the picture is cut off or damaged", incomplete.HINT) from error
        raise UnsupportedImageError(
            "this is not a picture that mmtui can read",
            f"{FORMAT_NAMES} work",
        ) from error
    except (InputError, MemoryError):
        raise
    # Pillow's decoders raise many types of errors for damaged files.
    except Exception as error:
        raise InputError(f"the picture is cut off or damaged: {error}", incomplete.HINT) from error
    if orientation in _TRANSPOSE:
        rgb = rgb.transpose(_TRANSPOSE[orientation])
    size = (height, width) if orientation >= 5 else (width, height)
    return Picture(hashlib.sha256(data).hexdigest(), rgb, size=size, notes=tuple(notes))


def _register_formats() -> None:
    """Register all formats with Pillow, and raise its limit of the size."""
    import pi_heif

    pi_heif.register_heif_opener()
    Image.init()
    # Pillow raises an error at twice this number; the default is 179 megapixels.
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2


def _find_signature(data: bytes) -> str | None:
    """Return the name of the format whose signature a file starts with; None if it has none."""
    for name in FORMATS:
        check = Image.OPEN[name][1] if name in Image.OPEN else None
        # A check returns a text if Pillow was built without the format.
        if check is not None and check(data[:16]) is True:
            return name
    return None


def _load(data: bytes) -> tuple[Image.Image, str | None]:
    """Decode a file; return the image, and a note if a part of it is missing."""
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
    formats = [name for name in FORMATS if name in Image.OPEN]  # depends on the build
    image = Image.open(io.BytesIO(data), formats=formats)
    size = image.size
    image.draft(None, (MIN_SIDE, MIN_SIDE))  # for JPEG; others are reduced by `_to_rgb`
    image.info["full_size"] = size
    _check_memory(image)
    return image


def _check_memory(image: ImageFile) -> None:
    """Raise InputError if decoding would need too much memory."""
    width, height = image.info["full_size"]
    decoded = image.width * image.height
    needed = decoded * (_MODE_BYTES.get(image.mode, 4) + _FORMAT_BYTES.get(image.format or "", 0))
    if image.info.get("progressive"):  # all coefficients are kept, 2 bytes each
        needed += width * height * 2 * len(image.getbands())
    if needed > MAX_DECODING_BYTES:
        gigabytes, limit = math.ceil(needed / 1e8) / 10, MAX_DECODING_BYTES / 1e9
        raise InputError(
            f"decoding a picture of {width} x {height} pixels takes {gigabytes:.1f} GB of memory;"
            f" {limit:.1f} GB is the limit",
            _SCALE_DOWN_HINT,
        )


def _get_orientation(image: Image.Image) -> int:
    """Return the Exif orientation; 1 (upright) if there is none or Exif is damaged."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # the parser raises many types of errors
        return 1
    return found if found in _TRANSPOSE else 1


def _to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to RGB in strips, and reduce a large picture by an integer factor."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = _to_8_bits(image)
    factor = max(1, min(image.size) // MIN_SIDE)
    if factor == 1:
        return _flatten(image, profile)
    rgb = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    step = max(1, _STRIP // factor) * factor
    for top in range(0, image.height, step):
        strip = image.crop((0, top, image.width, min(top + step, image.height)))
        rgb.paste(_flatten(strip, profile).reduce(factor), (0, top // factor))
    return rgb


def _flatten(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to sRGB, with transparent parts on white."""
    if image.has_transparency_data:  # alpha, or a transparent colour
        rgba = image.convert("RGBA")
        background = Image.new("RGBA", rgba.size, "white")
        image = Image.alpha_composite(background, rgba).convert("RGB")
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


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Convert grey of more than 8 bits to 8 bits.

    Of 16 bits, the high byte is used. Values of 32 bits and floats have no defined range: the
    smallest becomes 0 and the largest 255.
    """
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
    """Apply an ICC profile; one that does not fit the picture is ignored, as in image viewers."""
    if not profile:
        return image
    try:
        converted = ImageCms.profileToProfile(
            image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return image if converted is None else converted
