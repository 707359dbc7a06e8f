"""The clipboard: with fake programs, and with the real xclip if it is installed."""

import io
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageGrab

from mmtui.chat import clipboard
from mmtui.chat.conversation import Attachment
from mmtui.errors import InputError, MissingError

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux uses programs for the clipboard"
)


@pytest.fixture
def set_clipboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set what a fake wl-paste prints: the data, or an error."""
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")

    def set_(data: bytes = b"", error: str = "") -> None:
        (tmp_path / "data").write_bytes(data)
        program = tmp_path / "wl-paste"
        script = f"echo '{error}' >&2; exit 1" if error else f"cat '{tmp_path}/data'"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return set_


def encode(image: Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def paste(chat) -> list[Attachment]:
    return [chat.session.store_attachment(loaded) for loaded in clipboard.load()]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF"])
def test_a_picture_is_stored_as_png(chat, set_clipboard, format):
    set_clipboard(encode(Image.new("CMYK" if format != "PNG" else "RGBA", (40, 30)), format))
    (attachment,) = paste(chat)
    assert (attachment.kind, attachment.name, attachment.detail) == (
        "image", "clipboard.png", "40 x 30",
    )  # fmt: skip
    with Image.open(chat.session.file(attachment)) as stored:
        assert (stored.format, stored.size) == ("PNG", (40, 30))


def test_the_orientation_of_a_photo_is_applied(chat, set_clipboard):
    exif = Image.Exif()
    exif[0x0112] = 6
    set_clipboard(encode(Image.new("RGB", (40, 30)), "JPEG", exif=exif))
    assert paste(chat)[0].detail == "30 x 40"


@pytest.mark.parametrize("content", [{"error": "Nothing is copied"}, {"data": b"no picture"}])
def test_a_clipboard_without_a_picture_is_an_error(set_clipboard, content):
    set_clipboard(**content)
    with pytest.raises(InputError, match="no picture in the clipboard"):
        clipboard.load()


@pytest.mark.parametrize(
    "data", [encode(Image.new("RGB", (400, 300)), "PNG")[:300], b"P6 60000 60000 255\n"]
)
def test_damaged_and_giant_pictures_are_errors(set_clipboard, data):
    set_clipboard(data)
    with pytest.raises(MissingError, match="the clipboard can't be read"):
        clipboard.load()


def test_a_picture_over_the_size_limit_is_refused(set_clipboard, monkeypatch):
    monkeypatch.setattr("mmtui.pipeline.vision.images.MAX_DECODING_BYTES", 1000)
    set_clipboard(encode(Image.new("RGB", (40, 30)), "PNG"))
    with pytest.raises(InputError, match="the clipboard: "):
        clipboard.load()


def test_sixteen_bit_grey_pictures_stay_grey(chat, set_clipboard):
    set_clipboard(encode(Image.new("I;16", (40, 30), 300), "PNG"))
    (attachment,) = paste(chat)
    with Image.open(chat.session.file(attachment)) as stored:
        assert stored.getpixel((0, 0)) == 300


def test_without_a_clipboard_the_hint_names_the_programs(monkeypatch, set_clipboard, tmp_path):
    set_clipboard(error="wl-paste: cannot connect")
    with pytest.raises(MissingError, match="cannot connect"):
        clipboard.load()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(MissingError) as raised:
        clipboard.load()
    assert "xclip" in raised.value.hint and "SSH" in raised.value.hint


def test_copied_files_are_attached(chat, cat, monkeypatch):
    monkeypatch.setattr(ImageGrab, "grabclipboard", lambda: [str(cat), str(cat)])  # as on Windows
    assert [file.name for file in paste(chat)] == ["a cat.png"] * 2


def write_program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_a_text_is_copied_by_the_first_program_that_works(monkeypatch, tmp_path):
    assert not clipboard.copy("nowhere")  # without a display
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setenv("DISPLAY", ":9")
    write_program(tmp_path, "wl-copy", "exit 1")
    write_program(tmp_path, "xclip", f"cat > '{tmp_path}/copied'")
    assert clipboard.copy("Grüße")
    assert (tmp_path / "copied").read_text("utf-8") == "Grüße"
    write_program(tmp_path, "xclip", "exec sleep 60")
    monkeypatch.setattr(clipboard, "TIMEOUT_S", 0.05)
    assert not clipboard.copy("never")


@pytest.fixture
def x11(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start an X server without a screen."""
    if not (shutil.which("Xvfb") and shutil.which("xclip")):
        pytest.skip("needs Xvfb and xclip")
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", "1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert server.stdout
    monkeypatch.setenv("DISPLAY", f":{server.stdout.readline().decode().strip()}")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    yield
    server.terminate()
    server.wait()


def test_a_text_is_copied_to_other_programs(x11):
    assert clipboard.copy("Grüße\n猫")
    paste = ["xclip", "-selection", "clipboard", "-o"]
    deadline = time.monotonic() + 30
    while (run := subprocess.run(paste, capture_output=True, check=False)).returncode:
        assert time.monotonic() < deadline
    assert run.stdout.decode() == "Grüße\n猫"


def test_a_picture_that_another_program_copied_is_pasted(chat, cat, x11):
    copy = ["xclip", "-selection", "clipboard", "-t", "image/png", "-i", str(cat)]
    subprocess.run(copy, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while True:  # xclip owns the selection only some time after it has returned
        try:
            (attachment,) = paste(chat)
            break
        except InputError:
            assert time.monotonic() < deadline
    assert attachment.detail == "40 x 30"


def test_a_clipboard_that_hangs_is_an_error(monkeypatch):
    end = threading.Event()
    monkeypatch.setattr(ImageGrab, "grabclipboard", end.wait)
    monkeypatch.setattr(clipboard, "TIMEOUT_S", 0.05)
    with pytest.raises(MissingError, match="does not respond"):
        clipboard.load()
    end.set()
