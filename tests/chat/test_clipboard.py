"""The clipboard, through the programs that Pillow asks: stand-ins here, the real xclip if it is."""

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

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Pillow asks the system")


@pytest.fixture
def holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A clipboard, of which wl-paste says and writes that."""
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")

    def hold(data: bytes = b"", error: str = "") -> None:
        (tmp_path / "data").write_bytes(data)
        program = tmp_path / "wl-paste"
        failing = f"echo '{error}' >&2; exit 1" if error else f"cat '{tmp_path}/data'"
        program.write_text(f"#!/bin/sh\n{failing}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return hold


def file_of(image: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def staged(chat) -> list[Attachment]:
    return [chat.session.store_attachment(loaded) for loaded in clipboard.load()]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_a_picture_is_taken_and_kept_as_png(chat, holds, form):
    holds(file_of(Image.new("CMYK" if form != "PNG" else "RGBA", (40, 30)), form))
    (attachment,) = staged(chat)
    assert (attachment.kind, attachment.name, attachment.detail) == (
        "image", "clipboard.png", "40 x 30",
    )  # fmt: skip
    with Image.open(chat.session.file(attachment)) as kept:
        assert (kept.format, kept.size) == ("PNG", (40, 30))


def test_a_photo_is_upright(chat, holds):
    exif = Image.Exif()
    exif[0x0112] = 6
    holds(file_of(Image.new("RGB", (40, 30)), "JPEG", exif=exif))
    assert staged(chat)[0].detail == "30 x 40"


@pytest.mark.parametrize("held", [{"error": "Nothing is copied"}, {"data": b"no picture"}])
def test_a_clipboard_without_a_picture_is_told(holds, held):
    holds(**held)
    with pytest.raises(InputError, match="no picture in the clipboard"):
        clipboard.load()


@pytest.mark.parametrize(
    "data", [file_of(Image.new("RGB", (400, 300)), "PNG")[:300], b"P6 60000 60000 255\n"]
)
def test_damaged_and_giant_pictures_are_told(holds, data):
    holds(data)
    with pytest.raises(MissingError, match="the clipboard can't be read"):
        clipboard.load()


def test_a_picture_that_no_model_would_take_is_refused(holds, monkeypatch):
    monkeypatch.setattr("mmtui.pipeline.vision.images.MAX_BYTES", 1000)
    holds(file_of(Image.new("RGB", (40, 30)), "PNG"))
    with pytest.raises(InputError, match="the clipboard: "):
        clipboard.load()


def test_sixteen_bits_of_grey_stay_grey(chat, holds):
    holds(file_of(Image.new("I;16", (40, 30), 300), "PNG"))
    (attachment,) = staged(chat)
    with Image.open(chat.session.file(attachment)) as kept:
        assert kept.getpixel((0, 0)) == 300


def test_where_there_is_none_the_cure_is_told(monkeypatch, holds, tmp_path):
    holds(error="wl-paste: cannot connect")
    with pytest.raises(MissingError, match="cannot connect"):
        clipboard.load()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(MissingError) as told:
        clipboard.load()
    assert "xclip" in told.value.hint and "SSH" in told.value.hint


def test_copied_files_are_attached(chat, cat, monkeypatch):
    monkeypatch.setattr(ImageGrab, "grabclipboard", lambda: [str(cat), str(cat)])  # as on Windows
    assert [file.name for file in staged(chat)] == ["a cat.png"] * 2


def program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_a_text_goes_to_the_first_program_that_takes_it(monkeypatch, tmp_path):
    assert not clipboard.copy("nowhere")  # without a display
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setenv("DISPLAY", ":9")
    program(tmp_path, "wl-copy", "exit 1")
    program(tmp_path, "xclip", f"cat > '{tmp_path}/copied'")
    assert clipboard.copy("Grüße")
    assert (tmp_path / "copied").read_text("utf-8") == "Grüße"
    program(tmp_path, "xclip", "exec sleep 60")
    monkeypatch.setattr(clipboard, "PATIENCE_S", 0.05)
    assert not clipboard.copy("never")


@pytest.fixture
def x11(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not (shutil.which("Xvfb") and shutil.which("xclip")):
        pytest.skip("there is no Xvfb or no xclip here")
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
    while (found := subprocess.run(paste, capture_output=True, check=False)).returncode:
        assert time.monotonic() < deadline
    assert found.stdout.decode() == "Grüße\n猫"


def test_a_picture_that_another_program_copied_is_pasted(chat, cat, x11):
    copy = ["xclip", "-selection", "clipboard", "-t", "image/png", "-i", str(cat)]
    subprocess.run(copy, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while True:  # xclip takes the selection after it has gone to the background
        try:
            (attachment,) = staged(chat)
            break
        except InputError:
            assert time.monotonic() < deadline
    assert attachment.detail == "40 x 30"


def test_a_clipboard_that_hangs_is_told(monkeypatch):
    may_end = threading.Event()
    monkeypatch.setattr(ImageGrab, "grabclipboard", may_end.wait)
    monkeypatch.setattr(clipboard, "PATIENCE_S", 0.05)
    with pytest.raises(MissingError, match="does not answer"):
        clipboard.load()
    may_end.set()
