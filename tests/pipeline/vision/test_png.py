"""PNG files whose ancillary chunks are too large, too short or damaged."""

import io
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from mmtui.errors import InputError
from mmtui.pipeline.vision.images import decode


def make_red(**options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG", **options)
    return file.getvalue()


def insert_chunk(kind: bytes, body: bytes, checksum: bytes | None = None) -> bytes:
    """Make a red picture with an additional chunk before its pixels."""
    data = make_red()
    at = data.index(b"IDAT") - 4
    checksum = zlib.crc32(kind + body).to_bytes(4) if checksum is None else checksum
    return data[:at] + len(body).to_bytes(4) + kind + body + checksum + data[at:]


def is_red(data: bytes) -> bool:
    return decode(data).image.getpixel((4, 4)) == (255, 0, 0)


def compress_megabytes(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    zeros = bytes(1_000_000)
    return b"".join(packer.compress(zeros) for _ in range(megabytes)) + packer.flush()


@pytest.mark.parametrize(
    ("kind", "before"),
    [(b"zTXt", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"), (b"iCCP", b"a\0\0")],
)
def test_decompression_of_text_and_profiles_is_limited(kind, before):
    data = insert_chunk(kind, before + compress_megabytes(100))
    tracemalloc.start()
    try:
        assert is_red(data)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_many_long_texts_are_ignored():
    info = PngImagePlugin.PngInfo()
    for _ in range(70):
        info.add_text("a", "x" * 1_000_000, zip=True)
    assert is_red(make_red(pnginfo=info))


@pytest.mark.parametrize("kind", [b"tEXt", b"gAMA", b"pHYs", b"tIME", b"cHRM", b"sRGB", b"acTL"])
def test_damaged_ancillary_chunks_are_ignored(kind):
    assert is_red(insert_chunk(kind, b"\1\2\3\4", checksum=b"none"))
    for body in (b"", b"\0"):
        assert is_red(insert_chunk(kind, body))


def test_a_large_profile_is_applied():
    """The profile has 1.5 MB and swaps red and blue; Pillow does not decompress it."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[:] = (
        profile.replace(b"rXYZ", b"tmp!").replace(b"bXYZ", b"rXYZ").replace(b"tmp!", b"bXYZ")
    )
    profile += bytes(1_500_000)
    profile[:4] = len(profile).to_bytes(4)
    data = insert_chunk(b"iCCP", b"swapped\0\0" + zlib.compress(bytes(profile)))
    assert decode(data).image.getpixel((4, 4)) == (0, 0, 255)


def test_pixels_with_a_wrong_checksum_are_decoded():
    data = bytearray(make_red())
    at = data.index(b"IEND") - 8
    data[at : at + 4] = b"none"
    picture = decode(bytes(data))
    assert picture.image.getpixel((4, 4)) == (255, 0, 0)
    assert picture.notes == ("the picture is damaged: its checksum does not match",)


def test_damaged_later_frames_are_ignored():
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "lime", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], duration=50)
    data = file.getvalue()
    assert is_red(data[: data.rindex(b"fdAT") + 9])


def test_random_chunks_raise_only_input_errors():
    generator = np.random.default_rng(0)
    good = insert_chunk(b"tEXt", b"a\0b")
    for _ in range(300):
        bad = bytearray(good)
        for at in generator.integers(8, len(bad), 6):
            bad[at] = generator.integers(0, 256)
        try:
            decode(bytes(bad))
        except InputError:
            continue
