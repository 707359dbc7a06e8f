"""Bytes of an image file -> an upright RGB picture, as a viewer would show it."""

import hashlib
import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from mmtui.errors import InputError

MAX_PIXELS = 64_000_000  # the largest phone photos have 50 million; RGB needs 3 bytes each
# Raster formats that Pillow decodes by itself: no PostScript, no fonts, no video.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "PPM", "ICO", "TGA")


class NoImageError(InputError):
    """The bytes are in no image format that we know."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An RGB picture. `sha256` is that of the file's bytes: the same bytes, the same picture.

    `names` is what the vision tower takes it for; a prompt has it beside the picture.
    """

    sha256: str
    image: Image.Image
    names: str = ""


def known(sha256: str, names: str = "") -> Picture:
    """A picture whose features are there already: of its pixels nothing is needed."""
    return Picture(sha256, Image.new("RGB", (1, 1)), names)


def decode(data: bytes) -> Picture:
    """Raises InputError for what is no image, is damaged or is too large."""
    _register_formats()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # DecompressionBombWarning: the limit below is ours
            known = [name for name in FORMATS if name in Image.OPEN]  # builds differ
            image = Image.open(io.BytesIO(data), formats=known)
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise _too_large(f"{width * height / 1e6:.0f}")
            image.load()  # of an animation, the first frame
            return Picture(hashlib.sha256(data).hexdigest(), _upright_rgb(image))
    except Image.DecompressionBombError as error:
        raise _too_large("over 179") from error  # Pillow's own limit, met before ours
    except UnidentifiedImageError as error:
        raise NoImageError(
            "this is not a picture that mmtui can read",
            "JPEG, PNG, WebP, GIF, HEIC, AVIF, TIFF and BMP work",
        ) from error
    except InputError:
        raise
    # Pillow's decoders raise nearly anything on damaged files; each means the same to the user.
    except Exception as error:
        raise InputError(f"the picture is damaged: {error}") from error


def _too_large(megapixels: str) -> InputError:
    return InputError(
        f"the picture has {megapixels} megapixels; {MAX_PIXELS // 1_000_000} are the limit",
        "scale it down; the model sees a few hundred pixels anyway",
    )


def _register_formats() -> None:
    import pi_heif

    pi_heif.register_heif_opener()
    Image.init()


def _upright_rgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _eight_bits(image).convert("RGB")
    if profile and image.mode in ("RGB", "CMYK", "L"):
        image = _to_srgb(image, profile)
    if image.has_transparency_data:  # alpha, or a transparent colour of a palette
        rgba = image.convert("RGBA")
        paper = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(paper, rgba).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits is divided by 257; 32 bits and floats have no scale: stretched."""
    values = np.asarray(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and 255 < values.max() <= 65535):
        return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    values = np.nan_to_num(values.astype(np.float32))
    low, high = float(values.min()), float(values.max())
    values -= low
    values *= 255.0 / max(high - low, 1e-9)
    return Image.fromarray(np.rint(values, out=values).astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        converted = ImageCms.profileToProfile(
            image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # viewers ignore a profile that does not fit the picture
    return image if converted is None else converted
