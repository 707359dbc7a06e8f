"""Pictures whose files end too early: what is there of them, and how much is missing."""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from mmtui.errors import InputError

MAX_MISSING = 0.1  # share of a picture; with more of it missing, an answer would mislead
HINT = "copy or download the file again"
# Bytes that stand in for missing ones: AV1 and VP8 refuse most, but not all, random endings.
_FILLERS = 48
_MOST_PIXELS = 10_000  # that a byte can hold: deflate makes 1032 of it, of 8 pixels each
_STRIP = 256  # rows that are looked at at a time

Open = Callable[[bytes], ImageFile]


def salvage(data: bytes, open_image: Open) -> tuple[Image.Image, str | None] | None:
    """Decode what is there of a picture that can't be decoded as a whole.

    Pillow's own switch for this, `ImageFile.LOAD_TRUNCATED_IMAGES`, holds for the whole process
    and tells nothing about what is missing.

    Args:
        data: The file.
        open_image: Opens a file without decoding its pixels.

    Returns:
        The decoded picture, and what is missing of it (None: nothing but an end marker). None if
        nothing of it can be decoded.

    Raises:
        InputError: More than a tenth of the picture is missing.
    """
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data, open_image)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _filled_up(_webp(data), open_image)
    if data[4:8] == b"ftyp":
        return _filled_up(_heif(data), open_image)
    if data.startswith(b"GIF8"):
        data = _whole_blocks(data, open_image)
    if (measured := _measured(data, open_image)) is None and data[:2] in (b"II", b"MM"):
        return _measured(data + _tiff_end(data), open_image)
    return measured


def _missing(share: float) -> str | None:
    """What to say of a picture without this share of its pixels."""
    if share <= 0:
        return None
    percent = f"{share:.0%}" if share >= 0.01 else "less than 1%"
    text = f"the picture is cut off or damaged: {percent.replace('%', ' %')} of it is missing"
    if share > MAX_MISSING:
        raise InputError(text, HINT)
    return text


def _decoded(data: bytes, open_image: Open) -> ImageFile | None:
    try:
        image = open_image(data)
        image.load()
    except InputError:
        raise
    except Exception:  # a decoder raises nearly anything on what it can't read
        return None
    return image


def _jpeg(data: bytes, open_image: Open) -> tuple[Image.Image, str | None] | None:
    """End the file where it breaks off: libjpeg then shows what it has, and grey for the rest."""
    end = b"\xff\xd9"
    for at in (len(data), data.rfind(b"\xff\xc4"), data.rfind(b"\xff\xda")):
        # The cut may lie in the header of a scan or in its tables, with all scans before it whole.
        rest = data[:at].rstrip(b"\xff")
        if (image := _decoded(rest + end, open_image)) is None:
            continue
        # Bytes after a whole scan change nothing; after one that is cut they are decoded.
        other = _decoded(rest + b"\x5a" * 64 + end, open_image)
        if at == len(data) and other is not None and _are_same(image, other):
            return image, None
        grey_rows = _grey_rows(image)
        if image.info.get("progressive") and not grey_rows:
            return image, "the picture is cut off: its fine detail is missing"
        return image, _missing(max(grey_rows, 1) / image.height)
    return None


def _grey_rows(image: Image.Image) -> int:
    """How many rows at the bottom are what libjpeg puts where it has no data: the middle value."""
    pixels = np.asarray(image)
    is_grey = ((pixels == 128) | (pixels == 127)).reshape(image.height, -1).all(axis=1)
    return int(is_grey[::-1].argmin()) if not is_grey.all() else image.height


def _webp(data: bytes) -> Iterator[tuple[bytes, int, float]]:
    """The first picture in the file, how many bytes it lacks, and which share of it that is."""
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


def _heif(data: bytes) -> Iterator[tuple[bytes, int, float]]:
    """As `_webp`, for HEIC and AVIF. Their Exif is hidden: garbage in it stops Pillow."""
    at, size = 0, 1
    while at + 16 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16])
        if size < 8:  # 0: it ends with the file
            at = len(data)
            break
        at += size
    count = max(0, at - len(data))
    yield data, count, count / max(1, size)
    yield data.replace(b"Exif", b"free", 1), count, count / max(1, size)


def _filled_up(
    files: Iterator[tuple[bytes, int, float]], open_image: Open
) -> tuple[Image.Image, str | None] | None:
    """Other bytes in the place of the missing ones: decoders want files to be whole.

    What comes out the same with two different fillings is all there; but not of HEIC, whose
    decoder skips what it can't read.
    """
    for data, count, share in files:
        if count > len(data):  # more than half; how much may be a lie
            _missing(share)
        decoded: list[ImageFile] = []
        for filler in _fillers(count, 2 if share > MAX_MISSING else _FILLERS):
            if (image := _decoded(data + filler, open_image)) is not None:
                decoded.append(image)
            if len(decoded) == 2:
                break
        is_whole = len(decoded) == 2 and decoded[0].format != "HEIF" and _are_same(*decoded)
        missing = None if is_whole else _missing(share)
        if decoded:
            return decoded[0], missing
    return None


def _fillers(count: int, tries: int) -> Iterator[bytes]:
    yield bytes(count)
    for seed in range(1, tries if count else 1):
        yield random.Random(seed).randbytes(count)


def _are_same(image: Image.Image, other: Image.Image) -> bool:
    return np.array_equal(np.asarray(image), np.asarray(other))


def _whole_blocks(data: bytes, open_image: Open) -> bytes:
    """A GIF whose last block is as long as it says, so that its decoder takes what is there."""
    with suppress(Exception):  # what can't be opened is left as it is
        at = open_image(data).tile[0].offset
        while at < len(data) and data[at]:
            if at + data[at] >= len(data):
                return data[:at] + bytes([len(data) - at - 1]) + data[at + 1 :] + b"\0;"
            at += data[at] + 1
    return data


def _tiff_end(data: bytes) -> bytes:
    """More of a TIFF that ends in its directory: 8, over and over, in the file's byte order.

    The last value there is often that of the bits per sample.
    """
    eights = b"\x08\0" if data.startswith(b"II") else b"\0\x08"
    return (eights * 512)[len(data) % 2 :]


def _measured(data: bytes, open_image: Open) -> tuple[Image.Image, str | None] | None:
    """Decode twice into memory that holds another grey each time: where it stays is missing."""
    try:
        header = open_image(data)
        # A tiny file must not get a gigabyte painted because its header says so.
        _missing(1 - len(data) * _MOST_PIXELS / (header.width * header.height))
        _, untouched = _painted(data, open_image, 127)
        image, still = _painted(data, open_image, 128)
    except InputError:
        raise
    except Exception:  # not even a header
        return None
    count = int(np.bitwise_count(untouched & still).sum())
    return image, _missing(count / (image.width * image.height))


def _painted(data: bytes, open_image: Open, grey: int) -> tuple[ImageFile, NDArray[np.uint8]]:
    """The picture with a grey where nothing was decoded, and where it has this grey, as bits."""
    image = open_image(data)
    prepare, is_painted = image.load_prepare, False

    def load_prepare() -> None:
        nonlocal is_painted
        prepare()
        _paint(image, grey)
        is_painted = True

    image.load_prepare = load_prepare  # type: ignore[method-assign]
    try:
        image.load()
    except Exception:  # it ends too early, or is damaged
        if not is_painted:
            raise
        image.tile = []  # what was decoded is all that there is
        image.load()
    sample = Image.new(image.mode, (1, 1))
    _paint(sample, grey)
    value = np.asarray(sample).reshape(-1)
    bits = []
    for top in range(0, image.height, _STRIP):
        strip = image.crop((0, top, image.width, min(top + _STRIP, image.height)))
        pixels = np.asarray(strip).reshape(strip.width * strip.height, -1)
        bits.append(np.packbits((pixels == value).all(axis=1)))
    return image, np.concatenate(bits)


def _paint(image: Image.Image, grey: int) -> None:
    """Fill the image; in black and white, even greys are black."""
    ink = 255 * (grey % 2) if image.mode == "1" else grey
    bands = len(image.getbands())
    image.im.paste(ink if bands == 1 else (ink,) * bands, (0, 0, *image.im.size))
