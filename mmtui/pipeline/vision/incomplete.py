"""Decoding of image files that are cut off, and measurement of the missing part."""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from mmtui.errors import InputError

MAX_MISSING = 0.1  # a picture with a larger share missing is refused: an answer would mislead
HINT = "copy or download the file again"
# Number of random endings that are tried: decoders of AV1 and VP8 refuse most of them, not all.
_MAX_FILLERS = 48
# Most pixels that a byte can encode: deflate expands a byte to 1032, of 8 pixels each.
_MAX_PIXELS_PER_BYTE = 10_000
_STRIP = 256  # rows that are compared at a time

OpenImage = Callable[[bytes], ImageFile]
Salvaged = tuple[Image.Image, str | None]  # the image, and a note about what is missing


def salvage(data: bytes, open_image: OpenImage) -> Salvaged | None:
    """Decode the existing part of a file that Pillow can't decode.

    Pillow's switch for this, `ImageFile.LOAD_TRUNCATED_IMAGES`, applies to the whole process and
    does not report how much is missing.

    Args:
        data: The file.
        open_image: Opens a file without decoding its pixels.

    Returns:
        The image, and a note about the missing part, which is None if only an end marker is
        missing. None if nothing can be decoded.

    Raises:
        InputError: More than a tenth of the picture is missing.
    """
    if data.startswith(b"\xff\xd8"):
        return _salvage_jpeg(data, open_image)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _fill_and_decode(_split_webp(data), open_image)
    if data[4:8] == b"ftyp":
        return _fill_and_decode(_split_heif(data), open_image)
    if data.startswith(b"GIF8"):
        data = _shorten_last_block(data, open_image)
    if (salvaged := _decode_and_measure(data, open_image)) is None and data[:2] in (b"II", b"MM"):
        return _decode_and_measure(data + _make_tiff_end(data), open_image)
    return salvaged


def _describe_missing(share: float) -> str | None:
    """Return a note about the missing share of a picture, None if nothing is missing.

    Raises:
        InputError: More than MAX_MISSING is missing.
    """
    if share <= 0:
        return None
    percent = f"{share:.0%}" if share >= 0.01 else "less than 1%"
    text = f"the picture is cut off or damaged: {percent.replace('%', ' %')} of it is missing"
    if share > MAX_MISSING:
        raise InputError(text, HINT)
    return text


def _try_decode(data: bytes, open_image: OpenImage) -> ImageFile | None:
    """Decode a file; return None if that fails."""
    try:
        image = open_image(data)
        image.load()
    except InputError:
        raise
    except Exception:  # decoders raise many types of errors for damaged files
        return None
    return image


def _salvage_jpeg(data: bytes, open_image: OpenImage) -> Salvaged | None:
    """Add an end marker to a JPEG, and look for the rows that libjpeg fills with grey.

    The file may be cut off in the header or the tables of a scan. It is then cut before this scan,
    so that the complete scans before it are decoded.
    """
    end = b"\xff\xd9"
    for at in (len(data), data.rfind(b"\xff\xc4"), data.rfind(b"\xff\xda")):
        rest = data[:at].rstrip(b"\xff")
        if (image := _try_decode(rest + end, open_image)) is None:
            continue
        # More bytes change the image only if its last scan is incomplete.
        other = _try_decode(rest + b"\x5a" * 64 + end, open_image)
        if at == len(data) and other is not None and _are_same(image, other):
            return image, None
        grey_rows = _count_grey_rows(image)
        if image.info.get("progressive") and not grey_rows:
            return image, "the picture is cut off: its fine detail is missing"
        return image, _describe_missing(max(grey_rows, 1) / image.height)
    return None


def _count_grey_rows(image: Image.Image) -> int:
    """Count the rows at the bottom that have the middle value, which stands for missing data."""
    pixels = np.asarray(image)
    is_grey = ((pixels == 128) | (pixels == 127)).reshape(image.height, -1).all(axis=1)
    return int(is_grey[::-1].argmin()) if not is_grey.all() else image.height


def _split_webp(data: bytes) -> Iterator[tuple[bytes, int, float]]:
    """Cut a WebP after its first picture.

    Yields:
        The start of the file, the number of bytes that are missing, and their share of the picture.
    """
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size
        if data[at : at + 4] in (b"VP8 ", b"VP8L", b"ANMF"):
            padded = end + size % 2
            file = b"RIFF" + (padded - 8).to_bytes(4, "little") + data[8:padded]
            yield file, padded - len(file), (end - len(data)) / max(1, size)
            return
        at = end + size % 2


def _split_heif(data: bytes) -> Iterator[tuple[bytes, int, float]]:
    """Find out how many bytes a HEIC or AVIF file lacks; yield the same as `_split_webp`.

    The second candidate has no Exif: damaged Exif makes Pillow fail.
    """
    at, size = 0, 1
    while at + 16 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16])
        if size < 8:  # a box of size 0 ends with the file
            at = len(data)
            break
        at += size
    count = max(0, at - len(data))
    yield data, count, count / max(1, size)
    yield data.replace(b"Exif", b"free", 1), count, count / max(1, size)


def _fill_and_decode(
    files: Iterator[tuple[bytes, int, float]], open_image: OpenImage
) -> Salvaged | None:
    """Decode files with other bytes in place of the missing ones, because decoders need all bytes.

    If two different fillers give the same image, nothing is missing. This does not hold for HEIC,
    whose decoder skips damaged parts.
    """
    for data, count, share in files:
        if count > len(data):  # more than half is missing, or the header is wrong
            _describe_missing(share)
        decoded: list[ImageFile] = []
        for filler in _make_fillers(count, 2 if share > MAX_MISSING else _MAX_FILLERS):
            if (image := _try_decode(data + filler, open_image)) is not None:
                decoded.append(image)
            if len(decoded) == 2:
                break
        is_complete = len(decoded) == 2 and decoded[0].format != "HEIF" and _are_same(*decoded)
        missing = None if is_complete else _describe_missing(share)
        if decoded:
            return decoded[0], missing
    return None


def _make_fillers(count: int, tries: int) -> Iterator[bytes]:
    """Yield zeros, then random bytes, each `count` bytes long."""
    yield bytes(count)
    for seed in range(1, tries if count else 1):
        yield random.Random(seed).randbytes(count)


def _are_same(image: Image.Image, other: Image.Image) -> bool:
    return np.array_equal(np.asarray(image), np.asarray(other))


def _shorten_last_block(data: bytes, open_image: OpenImage) -> bytes:
    """Correct the length of a GIF's last block, so that its decoder uses the bytes it has."""
    with suppress(Exception):  # a file that can't be opened stays unchanged
        at = open_image(data).tile[0].offset
        while at < len(data) and data[at]:
            if at + data[at] >= len(data):
                return data[:at] + bytes([len(data) - at - 1]) + data[at + 1 :] + b"\0;"
            at += data[at] + 1
    return data


def _make_tiff_end(data: bytes) -> bytes:
    """Make the end of a TIFF that is cut off in its directory: the value 8, repeated.

    The last value of the directory is often the number of bits per sample.
    """
    eights = b"\x08\0" if data.startswith(b"II") else b"\0\x08"
    return (eights * 512)[len(data) % 2 :]


def _decode_and_measure(data: bytes, open_image: OpenImage) -> Salvaged | None:
    """Decode twice, onto different greys; pixels that stay grey both times are missing."""
    try:
        header = open_image(data)
        # Do not allocate a gigabyte for a tiny file with a wrong header.
        _describe_missing(1 - len(data) * _MAX_PIXELS_PER_BYTE / (header.width * header.height))
        _, grey = _decode_onto_grey(data, open_image, 127)
        image, grey_again = _decode_onto_grey(data, open_image, 128)
    except InputError:
        raise
    except Exception:  # the header is incomplete
        return None
    count = int(np.bitwise_count(grey & grey_again).sum())
    return image, _describe_missing(count / (image.width * image.height))


def _decode_onto_grey(
    data: bytes, open_image: OpenImage, grey: int
) -> tuple[ImageFile, NDArray[np.uint8]]:
    """Decode a file into memory that is filled with grey.

    Returns:
        The image, and a bit for each pixel that has the grey value.
    """
    image = open_image(data)
    prepare, is_filled = image.load_prepare, False

    def load_prepare() -> None:
        nonlocal is_filled
        prepare()
        _fill(image, grey)
        is_filled = True

    image.load_prepare = load_prepare  # type: ignore[method-assign]
    try:
        image.load()
    except Exception:  # the file is cut off or damaged
        if not is_filled:
            raise
        image.tile = []  # decode nothing more
        image.load()
    sample = Image.new(image.mode, (1, 1))
    _fill(sample, grey)
    value = np.asarray(sample).reshape(-1)
    bits = []
    for top in range(0, image.height, _STRIP):
        strip = image.crop((0, top, image.width, min(top + _STRIP, image.height)))
        pixels = np.asarray(strip).reshape(strip.width * strip.height, -1)
        bits.append(np.packbits((pixels == value).all(axis=1)))
    return image, np.concatenate(bits)


def _fill(image: Image.Image, grey: int) -> None:
    """Fill an image with a grey; in black-and-white images, even values are black."""
    ink = 255 * (grey % 2) if image.mode == "1" else grey
    bands = len(image.getbands())
    image.im.paste(ink if bands == 1 else (ink,) * bands, (0, 0, *image.im.size))
