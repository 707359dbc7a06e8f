"""Reading pictures and recordings: sizes, unusual names, devices and descriptors."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from mmtui.errors import InputError
from mmtui.pipeline import input_files
from mmtui.pipeline.assets.spec import Asset, VisionSpec


def test_the_same_bytes_have_the_same_hash(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (9, 9), "green").save(tmp_path / name)
    first, second = (input_files.read_picture(tmp_path / name) for name in ("a.png", "b.png"))
    assert first.sha256 == second.sha256


def test_the_format_is_detected_from_the_content(tmp_path):
    Image.new("RGB", (9, 9), "green").save(tmp_path / "really.png")
    (tmp_path / "really.png").rename(tmp_path / "misnamed.jpg")
    assert input_files.read_picture(tmp_path / "misnamed.jpg").image.size == (9, 9)


def test_a_file_over_the_size_limit_is_refused(monkeypatch):
    monkeypatch.setattr(input_files, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="stdin: the file has more than"):
        input_files.decode_picture(io.BytesIO(bytes(1001)), "stdin")


def test_devices_and_invalid_names_are_errors():
    with pytest.raises(InputError, match="a device or a socket"):
        input_files.read_picture(Path("/dev/zero"))
    with pytest.raises(InputError, match="can't be read"):
        input_files.read_picture(Path("a\0b"))
    with pytest.raises(InputError, match="can't be read: File name too long"):
        input_files.read_picture(Path("x" * 5000))


def test_descriptors_are_closed_after_errors(tmp_path):
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("needs /proc")
    before = len(list(descriptors.iterdir()))
    (tmp_path / "x.jpg").write_bytes(b"no")
    os.mkfifo(tmp_path / "pipe")
    for name in ("x.jpg", "pipe", "."):
        with pytest.raises(InputError):
            input_files.read_picture(tmp_path / name)
        with pytest.raises(InputError):
            input_files.read_clip(tmp_path / name)
    assert len(list(descriptors.iterdir())) == before


@pytest.mark.parametrize(
    ("resize", "corner", "middle"),
    [("pad", "grey", "red"), ("stretch", "red", "blue"), ("shorter side", "blue", "blue")],
)
def test_the_model_input_is_resized_as_the_model_says(tmp_path, resize, corner, middle):
    colours = {"grey": (127, 127, 127), "red": (255, 0, 0), "blue": (0, 0, 255)}
    picture = Image.new("RGB", (90, 30), "red")
    if resize != "pad":
        picture.paste("blue", (30, 0, 60, 30))
    picture.save(tmp_path / "wide.png")
    grey = (0.5, 0.5, 0.5)
    spec = VisionSpec(
        Asset("clip"), "open_clip", 30, grey, grey, 25, 128, resize=resize, resample="nearest"
    )
    square = input_files.read_model_input(tmp_path / "wide.png", spec)
    assert square.size == (30, 30)
    assert square.getpixel((1, 1)) == colours[corner]
    assert square.getpixel((15, 15)) == colours[middle]
