"""Picture files of many formats that are cut off at many places."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from small_files import HEIC

from mmtui.errors import InputError
from mmtui.pipeline.vision.images import decode

_SHADES = np.linspace(30, 220, 48)[None, :, None] * [[[1.0, 0.7, 0.4]]]
_NOISE = np.random.default_rng(0).normal(0, 14, (64, 48, 3))
PHOTO = Image.fromarray((_SHADES + _NOISE).clip(0, 255).astype(np.uint8))
GREY = PHOTO.convert("L")
DEEP = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)
FEW = PHOTO.quantize(32)
STACK = {"save_all": True, "append_images": [GREY.convert("RGB")], "duration": 50}


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# The file, and the size of the end marker in bytes.
FILES: dict[str, tuple[bytes, int]] = {
    "jpeg": (encode(PHOTO, "JPEG"), 2),
    "jpeg, progressive": (encode(PHOTO, "JPEG", progressive=True), 2),
    "jpeg, grey": (encode(GREY, "JPEG"), 2),
    "jpeg, cmyk": (encode(PHOTO.convert("CMYK"), "JPEG"), 2),
    "jpeg, restarts": (encode(PHOTO, "JPEG", restart_marker_blocks=1), 2),
    "png": (encode(PHOTO, "PNG"), 16),
    "png, palette": (encode(FEW, "PNG"), 16),
    "png, alpha": (encode(PHOTO.convert("RGBA"), "PNG"), 16),
    "png, 16 bits": (encode(DEEP, "PNG"), 16),
    "png, 1 bit": (encode(PHOTO.convert("1"), "PNG"), 16),
    "gif": (encode(FEW, "GIF", interlace=0), 2),
    "gif, interlaced": (encode(FEW, "GIF", interlace=1), 2),
    "gif, transparent": (encode(FEW, "GIF", transparency=3), 2),
    "gif, animated": (encode(FEW, "GIF", **STACK), 2),
    "bmp": (encode(PHOTO, "BMP"), 0),
    "ppm": (encode(PHOTO, "PPM"), 0),
    "tga": (encode(PHOTO, "TGA", compression="tga_rle"), 26),
    "tiff": (encode(PHOTO, "TIFF"), 0),
    "tiff, lzw": (encode(PHOTO, "TIFF", compression="tiff_lzw"), 6),
    "tiff, deflate": (encode(PHOTO, "TIFF", compression="tiff_adobe_deflate"), 6),
    "webp": (encode(PHOTO, "WEBP"), 0),
    "webp, lossless": (encode(PHOTO, "WEBP", lossless=True), 0),
    "webp, animated": (encode(PHOTO, "WEBP", **STACK), 2),
    "avif": (encode(PHOTO, "AVIF", speed=10), 0),
    "heic": (HEIC, 0),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_lacks_a_few_bytes_is_decoded(name):
    data, end = FILES[name]
    complete = np.asarray(decode(data).image).astype(int)
    for cut in {1, 2, 3, end} - {0}:
        picture = decode(data[:-cut])
        differs = np.abs(np.asarray(picture.image) - complete).max(axis=2) > 40
        assert differs.mean() < 0.1, cut
        if cut <= end:
            assert picture.notes == () and not differs.any(), cut


@pytest.mark.parametrize("name", FILES)
def test_the_missing_share_is_reported_wherever_a_file_ends(name):
    data, _ = FILES[name]
    complete = np.asarray(decode(data).image).astype(int)
    outcomes = set()
    for length in range(1, len(data), max(1, len(data) // 40)):
        try:
            picture = decode(data[:length])
        except InputError:
            outcomes.add("refused")
            continue
        pixels = np.asarray(picture.image).astype(int)
        if picture.notes:
            outcomes.add("noted")
            assert "cut off" in picture.notes[0]
        else:
            assert np.abs(pixels - complete).mean() < 1, length
    assert "refused" in outcomes


@pytest.mark.parametrize("name", ["jpeg", "png", "png, 16 bits", "gif", "bmp", "tiff", "webp"])
def test_a_picture_with_more_than_a_tenth_missing_is_refused(name):
    data, _ = FILES[name]
    with pytest.raises(
        InputError, match=r"cut off or damaged: [2-9]\d % of it is missing"
    ) as caught:
        decode(data[: len(data) * 6 // 10])
    assert caught.value.hint == "copy or download the file again"
    (note,) = decode(data[: len(data) * 95 // 100]).notes
    assert "% of it is missing" in note


def test_a_progressive_jpeg_without_its_last_scans_lacks_only_detail():
    data, _ = FILES["jpeg, progressive"]
    picture = decode(data[: len(data) * 8 // 10])
    assert picture.notes == ("the picture is cut off: its fine detail is missing",)


def test_a_grey_jpeg_without_its_end_marker_is_complete():
    for options in ({}, {"progressive": True}):
        data = encode(Image.new("RGB", (64, 64), (128, 128, 128)), "JPEG", **options)
        assert decode(data[:-2]).notes == ()


def test_only_the_first_frame_of_an_animation_is_needed():
    for name in ("gif, animated", "webp, animated"):
        data, _ = FILES[name]
        first = decode(data)
        cut = decode(data[: len(data) * 8 // 10])
        assert cut.notes == ()
        assert np.array_equal(np.asarray(cut.image), np.asarray(first.image)), name


def test_wrong_sizes_in_headers_allocate_no_memory():
    webp, _ = FILES["webp"]
    lie = b"\xff\xff\xff\x7f"
    bmp, _ = FILES["bmp"]
    for data in (
        webp[:4] + lie + webp[8:16] + lie + webp[20:],
        bmp[:18] + (14_000).to_bytes(4, "little") * 2 + bmp[26:],
    ):
        tracemalloc.start()
        try:
            with pytest.raises(InputError, match=r"cut off or damaged: \d+ % of it is missing"):
                decode(data)
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()
