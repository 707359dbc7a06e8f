"""Pictures as a viewer would show them, and files that are none."""

import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from mmtui.errors import InputError
from mmtui.pipeline.images import decode


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


# A picture of 64 x 32, red and blue halves, as an iPhone would store it (made with pillow-heif).
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAA"
    "AAAAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABoQABAAAAAAAAAEMAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAA"
    "AAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34"
    "+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5"
    "uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAA"
    "AAAoY2xhcAAAAEAAAAABAAAAIAAAAAEAAAAAAAAAAv///+AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAA"
    "AAAAAAEAAQWBAgMFhAAAAEttZGF0AAAAPygBr1jm9Oq//+c7v/8qPSH2JRfX/+Kr1X9RO0/8YSVJLUGhOEOoU1kV"
    "9AH/X9IQtIF+6STPHCOH8N3q7MGiFA=="
)


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
        (saved(Image.effect_noise((64, 64), 90), "JPEG")[:700], "damaged"),
        (saved(Image.effect_noise((64, 64), 90), "PNG")[:900], "damaged"),
        (b"P6 10001 10000 255\n", "megapixels"),
        (b"P6 100000 100000 255\n", "megapixels"),
    ],
)
def test_what_is_no_picture_is_an_input_error(data, says):
    with pytest.raises(InputError, match=says):
        decode(data)


def test_a_decompression_bomb_is_refused_before_it_is_unpacked():
    bomb = saved(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(InputError, match="over 179 megapixels"):
        decode(bomb)


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
