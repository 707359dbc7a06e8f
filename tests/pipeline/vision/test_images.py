"""Decoding of pictures: orientation, transparency, colours, limits and damaged files."""

import io
import zlib

import av
import numpy as np
import pytest
from PIL import Image, ImageCms
from small_files import HEIC

from mmtui.errors import InputError
from mmtui.pipeline.vision import images
from mmtui.pipeline.vision.images import decode


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def to_pixels(data: bytes) -> np.ndarray:
    image = decode(data).image
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def make_halves(left: str, right: str) -> Image.Image:
    image = Image.new("RGB", (40, 20), left)
    image.paste(right, (20, 0, 40, 20))
    return image


def encode_png(kind: int, depth: int, pixels: np.ndarray, *chunks: tuple[bytes, bytes], width=None):
    """Encode samples (height, width, ...) as a PNG file with additional chunks."""
    size = (width or pixels.shape[1]).to_bytes(4) + len(pixels).to_bytes(4)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    parts = [(b"IHDR", size + bytes([depth, kind, 0, 0, 0])), *chunks]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(make_chunk(*part) for part in parts)


def make_chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)


RGB_16_KEY = (b"tRNS", np.array([20_000, 1, 2], ">u2").tobytes())


def test_exif_orientation_turns_the_picture_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees clockwise
    pixels = to_pixels(encode(make_halves("red", "blue"), "JPEG", exif=exif, quality=95))
    assert pixels.shape == (40, 20, 3)
    assert pixels[5, 10, 0] > 200 and pixels[35, 10, 2] > 200


def test_transparent_parts_are_white():
    image = make_halves("red", "blue").convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 20, 20))
    pixels = to_pixels(encode(image, "PNG"))
    assert pixels[10, 10].tolist() == [255, 255, 255]
    assert pixels[10, 30].tolist() == [0, 0, 255]


def test_a_transparent_palette_colour_is_white():
    image = make_halves("red", "blue").quantize(4)
    red = image.getpixel((0, 0))
    pixels = to_pixels(encode(image, "GIF", transparency=red))
    assert pixels[10, 10].tolist() == [255, 255, 255]
    assert pixels[10, 30].tolist() == [0, 0, 255]


def test_cmyk_is_converted_to_rgb():
    pixels = to_pixels(encode(make_halves("red", "white").convert("CMYK"), "JPEG", quality=95))
    assert pixels[10, 5, 0] > 200 and pixels[10, 5, 1] < 60
    assert (pixels[10, 35] > 240).all()


def test_sixteen_bit_grey_keeps_its_shades():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    pixels = to_pixels(encode(Image.fromarray(ramp), "PNG"))
    assert np.abs(pixels[0, :, 0] - np.arange(256)).max() <= 1


def test_a_tiff_of_floats_is_scaled_to_its_range():
    ramp = np.linspace(-3, 5, 256).astype(np.float32)[None].repeat(4, 0)
    pixels = to_pixels(encode(Image.fromarray(ramp), "TIFF"))
    assert np.abs(pixels[0, :, 0] - np.arange(256)).max() <= 1


def test_one_bit_and_grey_with_alpha_are_converted():
    assert to_pixels(encode(Image.new("1", (3, 3), 1), "PNG")).min() == 255
    assert to_pixels(encode(Image.new("LA", (3, 3), (0, 0)), "PNG")).min() == 255


def test_the_first_frame_of_an_animation_is_decoded():
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        data = encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
        red, green, _ = to_pixels(data)[4, 4]
        assert red > 200 and green < 60, kind


def test_an_embedded_profile_is_applied():
    image = Image.new("RGB", (8, 8), (120, 60, 200))
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = to_pixels(encode(image, "PNG", icc_profile=srgb))
    assert np.abs(same[0, 0] - (120, 60, 200)).max() <= 1
    unfit = to_pixels(encode(image, "PNG", icc_profile=lab))  # the profile is ignored
    assert unfit[0, 0].tolist() == [120, 60, 200]


def test_photos_in_heic_and_avif_are_decoded():
    for data in (HEIC, encode(make_halves("red", "blue"), "AVIF", quality=95)):
        pixels = to_pixels(data)
        width = pixels.shape[1]
        assert pixels[10, width // 8, 0] > 180 and pixels[10, -width // 8, 2] > 180


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"%PDF-1.7 not a picture", "not a picture"),
        (b"just text, renamed .jpg", "not a picture"),
        (b"P6 100000 100000 255\n", "more than 300 megapixels"),
        (encode(Image.new("RGB", (9, 9)), "PNG")[:20], "cut off or damaged"),
        (encode(Image.new("RGB", (9, 9)), "JPEG")[:20], "cut off or damaged"),
    ],
)
def test_files_that_are_not_pictures_are_refused(data, message):
    with pytest.raises(InputError, match=message):
        decode(data)


def test_a_picture_that_needs_too_much_memory_is_refused_before_decoding():
    bomb = encode(Image.new("1", (40, 40)), "WEBP")
    bomb = bomb[:26] + (16_000).to_bytes(2, "little") * 2 + bomb[30:]  # VP8's width and height
    with pytest.raises(InputError, match=r"16000 x 16000 pixels takes 4\.1 GB of memory; 1\.5 GB"):
        decode(bomb)


def test_the_error_about_memory_shows_more_than_the_limit(monkeypatch):
    monkeypatch.setattr(images, "MAX_DECODING_BYTES", 1_499_999_999)
    picture = encode(Image.new("RGB", (3000, 2000)), "PNG")
    monkeypatch.setattr(images, "_MODE_BYTES", {"RGB": 250})
    with pytest.raises(InputError, match=r"takes 1\.5 GB of memory"):
        decode(picture)


def test_large_photos_are_decoded_at_a_smaller_scale():
    large = Image.linear_gradient("L").resize((5200, 4100))
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG", "BMP", "TIFF"):
        picture = decode(encode(large, kind, exif=exif) if kind == "JPEG" else encode(large, kind))
        upright = (4100, 5200) if kind == "JPEG" else (5200, 4100)
        assert picture.size == upright
        assert picture.image.size == (upright[0] // 2, upright[1] // 2), kind
        expected = large.rotate(-90, expand=True) if kind == "JPEG" else large
        small = np.asarray(picture.image.resize((41, 52)))[..., 0].astype(int)
        assert np.abs(small - np.asarray(expected.resize((41, 52)))).max() <= 2


def test_transparent_colours_of_every_depth_are_white():
    grey = encode_png(0, 16, np.array([[40_000, 20_000]], ">u2"), (b"tRNS", b"\x4e\x20"))
    rgb = encode_png(2, 16, np.array([[[40_000, 0, 0], [20_000, 1, 2]]], ">u2"), RGB_16_KEY)
    two_bits = encode_png(0, 2, np.array([[0b00011011]], np.uint8), (b"tRNS", b"\0\x01"), width=4)
    one_bit = encode_png(0, 1, np.array([[0b01000000]], np.uint8), (b"tRNS", b"\0\x01"), width=2)
    assert to_pixels(grey)[0, :, 0].tolist() == [156, 255]
    assert to_pixels(rgb)[0].tolist() == [[156, 0, 0], [255, 255, 255]]
    assert to_pixels(two_bits)[0, :, 0].tolist() == [0, 255, 170, 255]
    assert to_pixels(one_bit)[0, :, 0].tolist() == [0, 255]


def test_invalid_transparent_colours_are_ignored():
    red = np.full((1, 2, 3), (200, 0, 0), np.uint8)
    for key in (b"", b"\0", b"\0\0\0\0"):
        assert to_pixels(encode_png(2, 8, red, (b"tRNS", key)))[0, 0].tolist() == [200, 0, 0]


def test_a_palette_with_alpha_is_flattened():
    image = Image.new("P", (2, 1), 1)
    image.putpixel((0, 0), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    pixels = to_pixels(encode(image, "PNG", transparency=b"\xff\x00"))
    assert pixels[0].tolist() == [[255, 0, 0], [255, 255, 255]]


def test_cmyk_and_lab_are_converted():
    red = Image.new("RGB", (16, 16), (200, 30, 40))
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    in_lab = ImageCms.profileToProfile(red, srgb, lab, outputMode="LAB")
    assert np.abs(to_pixels(encode(in_lab, "TIFF"))[0, 0] - (200, 30, 40)).max() <= 3
    deep = np.full((4, 4, 3), (51_400, 7710, 10_280), np.uint16)
    file = io.BytesIO()
    with av.open(file, "w", format="image2pipe") as output:  # 16 bits of RGB, which Pillow reads
        stream = output.add_stream("tiff", rate=1, width=4, height=4, pix_fmt="rgb48le")
        output.mux(stream.encode(av.VideoFrame.from_ndarray(deep, format="rgb48le")))
        output.mux(stream.encode(None))
    assert np.abs(to_pixels(file.getvalue())[0, 0] - (200, 30, 40)).max() <= 1


def test_the_first_of_several_pages_or_photos_is_decoded():
    pages = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    for kind in ("TIFF", "MPO"):
        data = encode(pages[0], kind, save_all=True, append_images=pages[1:])
        red, _, blue = to_pixels(data)[5, 10]
        assert red > 200 and blue < 60, kind


@pytest.mark.parametrize(
    "garbage", [b"garbage!" * 9, b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff"]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_is_ignored(kind, garbage):
    assert to_pixels(encode(make_halves("red", "blue"), kind, exif=garbage)).shape == (20, 40, 3)


def test_damaged_exif_in_avif_is_ignored():
    exif = Image.Exif()
    exif[0x010E] = "a description " * 9
    data = encode(make_halves("red", "blue"), "AVIF", exif=exif)
    at = data.index(b"II*\0") if b"II*\0" in data else data.index(b"MM\0*")
    assert to_pixels(data[:at] + b"garbage!" + data[at + 8 :]).shape == (20, 40, 3)


def test_a_damaged_profile_is_ignored():
    image = Image.new("RGB", (8, 8), (120, 60, 200))
    for kind in ("PNG", "JPEG", "TIFF", "WEBP"):
        pixels = to_pixels(encode(image, kind, icc_profile=b"not a profile" * 20))
        assert np.abs(pixels[0, 0] - (120, 60, 200)).max() <= 8, kind


def test_random_damage_raises_only_input_errors():
    generator = np.random.default_rng(0)
    noise = Image.effect_noise((48, 48), 90).convert("RGB")
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"):
        good = np.frombuffer(encode(noise, kind), np.uint8)
        for _ in range(40):
            bad = good.copy()
            at = generator.integers(0, len(bad), 12)
            bad[at] = generator.integers(0, 256, 12)
            try:
                decode(bad.tobytes())
            except InputError:
                continue
