"""Pictures as a viewer would show them, and files that are none."""

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


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def shown(data: bytes) -> np.ndarray:
    image = decode(data).image
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def halves(left: str, right: str) -> Image.Image:
    image = Image.new("RGB", (40, 20), left)
    image.paste(right, (20, 0, 40, 20))
    return image


def png(kind: int, depth: int, pixels: np.ndarray, *chunks: tuple[bytes, bytes], width=None):
    """A PNG file, (height, width, ...) samples as they lie in it, with more chunks."""
    size = (width or pixels.shape[1]).to_bytes(4) + len(pixels).to_bytes(4)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    parts = [(b"IHDR", size + bytes([depth, kind, 0, 0, 0])), *chunks]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)


RGB_16_KEY = (b"tRNS", np.array([20_000, 1, 2], ">u2").tobytes())


def test_exif_orientation_turns_the_picture_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    pixels = shown(saved(halves("red", "blue"), "JPEG", exif=exif, quality=95))
    assert pixels.shape == (40, 20, 3)
    assert pixels[5, 10, 0] > 200 and pixels[35, 10, 2] > 200


def test_transparency_is_white_paper():
    image = halves("red", "blue").convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 20, 20))
    pixels = shown(saved(image, "PNG"))
    assert pixels[10, 10].tolist() == [255, 255, 255]
    assert pixels[10, 30].tolist() == [0, 0, 255]


def test_a_transparent_palette_colour_is_white_paper():
    image = halves("red", "blue").quantize(4)
    red = image.getpixel((0, 0))
    pixels = shown(saved(image, "GIF", transparency=red))
    assert pixels[10, 10].tolist() == [255, 255, 255]
    assert pixels[10, 30].tolist() == [0, 0, 255]


def test_cmyk():
    pixels = shown(saved(halves("red", "white").convert("CMYK"), "JPEG", quality=95))
    assert pixels[10, 5, 0] > 200 and pixels[10, 5, 1] < 60
    assert (pixels[10, 35] > 240).all()


def test_sixteen_bit_grey_keeps_its_shades():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    pixels = shown(saved(Image.fromarray(ramp), "PNG"))
    assert np.abs(pixels[0, :, 0] - np.arange(256)).max() <= 1


def test_float_tiff_is_stretched_to_what_it_holds():
    ramp = np.linspace(-3, 5, 256).astype(np.float32)[None].repeat(4, 0)
    pixels = shown(saved(Image.fromarray(ramp), "TIFF"))
    assert np.abs(pixels[0, :, 0] - np.arange(256)).max() <= 1


def test_one_bit_and_grey_with_alpha():
    assert shown(saved(Image.new("1", (3, 3), 1), "PNG")).min() == 255
    assert shown(saved(Image.new("LA", (3, 3), (0, 0)), "PNG")).min() == 255


def test_of_an_animation_the_first_frame():
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
        red, green, _ = shown(data)[4, 4]
        assert red > 200 and green < 60, kind


def test_an_embedded_profile_is_applied():
    image = Image.new("RGB", (8, 8), (120, 60, 200))
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = shown(saved(image, "PNG", icc_profile=srgb))
    assert np.abs(same[0, 0] - (120, 60, 200)).max() <= 1
    unfit = shown(saved(image, "PNG", icc_profile=lab))  # as if there were none
    assert unfit[0, 0].tolist() == [120, 60, 200]


def test_phone_photos_in_heic_and_avif():
    for data in (HEIC, saved(halves("red", "blue"), "AVIF", quality=95)):
        pixels = shown(data)
        width = pixels.shape[1]
        assert pixels[10, width // 8, 0] > 180 and pixels[10, -width // 8, 2] > 180


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"%PDF-1.7 not a picture", "not a picture"),
        (b"just text, renamed .jpg", "not a picture"),
        (b"P6 100000 100000 255\n", "more than 300 megapixels"),
        (saved(Image.new("RGB", (9, 9)), "PNG")[:20], "cut off or damaged"),
        (saved(Image.new("RGB", (9, 9)), "JPEG")[:20], "cut off or damaged"),
    ],
)
def test_what_is_no_picture_is_an_input_error(data, says):
    with pytest.raises(InputError, match=says):
        decode(data)


def test_a_picture_that_takes_too_much_memory_is_refused_before_it_is_unpacked():
    bomb = saved(Image.new("1", (40, 40)), "WEBP")
    bomb = bomb[:26] + (16_000).to_bytes(2, "little") * 2 + bomb[30:]  # VP8's width and height
    with pytest.raises(InputError, match=r"16000 x 16000 pixels takes 4\.1 GB of memory; 1\.5 GB"):
        decode(bomb)


def test_what_is_refused_and_the_limit_do_not_contradict_each_other(monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 1_499_999_999)
    picture = saved(Image.new("RGB", (3000, 2000)), "PNG")
    monkeypatch.setattr(images, "_MODE_BYTES", {"RGB": 250})
    with pytest.raises(InputError, match=r"takes 1\.5 GB of memory"):
        decode(picture)


def test_large_photos_are_decoded_at_a_smaller_scale():
    large = Image.linear_gradient("L").resize((5200, 4100))
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG", "BMP", "TIFF"):
        picture = decode(saved(large, kind, exif=exif) if kind == "JPEG" else saved(large, kind))
        upright = (4100, 5200) if kind == "JPEG" else (5200, 4100)
        assert picture.size == upright
        assert picture.image.size == (upright[0] // 2, upright[1] // 2), kind
        whole = large.rotate(-90, expand=True) if kind == "JPEG" else large
        small = np.asarray(picture.image.resize((41, 52)))[..., 0].astype(int)
        assert np.abs(small - np.asarray(whole.resize((41, 52)))).max() <= 2


def test_a_transparent_colour_of_every_depth():
    grey = png(0, 16, np.array([[40_000, 20_000]], ">u2"), (b"tRNS", b"\x4e\x20"))
    rgb = png(2, 16, np.array([[[40_000, 0, 0], [20_000, 1, 2]]], ">u2"), RGB_16_KEY)
    two_bits = png(0, 2, np.array([[0b00011011]], np.uint8), (b"tRNS", b"\0\x01"), width=4)
    one_bit = png(0, 1, np.array([[0b01000000]], np.uint8), (b"tRNS", b"\0\x01"), width=2)
    assert shown(grey)[0, :, 0].tolist() == [156, 255]
    assert shown(rgb)[0].tolist() == [[156, 0, 0], [255, 255, 255]]
    assert shown(two_bits)[0, :, 0].tolist() == [0, 255, 170, 255]
    assert shown(one_bit)[0, :, 0].tolist() == [0, 255]


def test_transparent_colours_that_do_not_fit_are_left_out():
    red = np.full((1, 2, 3), (200, 0, 0), np.uint8)
    for key in (b"", b"\0", b"\0\0\0\0"):
        assert shown(png(2, 8, red, (b"tRNS", key)))[0, 0].tolist() == [200, 0, 0]


def test_a_palette_with_alpha():
    image = Image.new("P", (2, 1), 1)
    image.putpixel((0, 0), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    pixels = shown(saved(image, "PNG", transparency=b"\xff\x00"))
    assert pixels[0].tolist() == [[255, 0, 0], [255, 255, 255]]


def test_colours_of_print_and_of_scanners():
    red = Image.new("RGB", (16, 16), (200, 30, 40))
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    in_lab = ImageCms.profileToProfile(red, srgb, lab, outputMode="LAB")
    assert np.abs(shown(saved(in_lab, "TIFF"))[0, 0] - (200, 30, 40)).max() <= 3
    deep = np.full((4, 4, 3), (51_400, 7710, 10_280), np.uint16)
    file = io.BytesIO()
    with av.open(file, "w", format="image2pipe") as output:  # 16 bits of RGB, which Pillow reads
        stream = output.add_stream("tiff", rate=1, width=4, height=4, pix_fmt="rgb48le")
        output.mux(stream.encode(av.VideoFrame.from_ndarray(deep, format="rgb48le")))
        output.mux(stream.encode(None))
    assert np.abs(shown(file.getvalue())[0, 0] - (200, 30, 40)).max() <= 1


def test_of_several_pages_or_photos_in_a_file_the_first():
    pages = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    for kind in ("TIFF", "MPO"):
        data = saved(pages[0], kind, save_all=True, append_images=pages[1:])
        red, _, blue = shown(data)[5, 10]
        assert red > 200 and blue < 60, kind


@pytest.mark.parametrize(
    "garbage", [b"garbage!" * 9, b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff"]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_garbage_for_exif_costs_nothing_but_the_orientation(kind, garbage):
    assert shown(saved(halves("red", "blue"), kind, exif=garbage)).shape == (20, 40, 3)


def test_garbage_for_exif_in_avif():
    exif = Image.Exif()
    exif[0x010E] = "a description " * 9
    data = saved(halves("red", "blue"), "AVIF", exif=exif)
    at = data.index(b"II*\0") if b"II*\0" in data else data.index(b"MM\0*")
    assert shown(data[:at] + b"garbage!" + data[at + 8 :]).shape == (20, 40, 3)


def test_a_broken_profile_is_as_good_as_none():
    image = Image.new("RGB", (8, 8), (120, 60, 200))
    for kind in ("PNG", "JPEG", "TIFF", "WEBP"):
        pixels = shown(saved(image, kind, icc_profile=b"not a profile" * 20))
        assert np.abs(pixels[0, 0] - (120, 60, 200)).max() <= 8, kind


def test_random_damage_never_raises_anything_else():
    generator = np.random.default_rng(0)
    noise = Image.effect_noise((48, 48), 90).convert("RGB")
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"):
        good = np.frombuffer(saved(noise, kind), np.uint8)
        for _ in range(40):
            bad = good.copy()
            at = generator.integers(0, len(bad), 12)
            bad[at] = generator.integers(0, 256, 12)
            try:
                decode(bad.tobytes())
            except InputError:
                continue
