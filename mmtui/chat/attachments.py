"""Files that a user attaches: opened with care, decoded, or refused with a reason."""

import io
import os
import stat
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mmtui.chat.conversation import Kind
from mmtui.errors import InputError
from mmtui.files import describe_kind

if TYPE_CHECKING:
    from PIL import Image

    from mmtui.pipeline.images import Picture
    from mmtui.pipeline.sound import Clip

# Decoders are imported where they are used: a chat begins before it needs one.

MAX_IMAGE_BYTES = 256_000_000


@dataclass(frozen=True, eq=False)
class Loaded:
    """A file that was read; `detail` is "640 x 480" or "3.2 s", `clip` that of a recording."""

    kind: Kind
    name: str
    data: bytes
    detail: str
    clip: "Clip | None" = None


def read_picture(path: Path) -> "Picture":
    """Raises InputError, naming the file, for what is no usable picture."""
    with opened(path) as file:
        return picture(file, str(path))


def picture(file: BinaryIO, name: str) -> "Picture":
    """A picture from an open file. `name` is what errors call it."""
    from mmtui.pipeline import images

    data = _read(file, name)
    if len(data) > MAX_IMAGE_BYTES:
        raise InputError(f"{name}: more than {MAX_IMAGE_BYTES / 1e6:.0f} MB are no picture")
    if not data:
        raise InputError(f"{name}: the file is empty")
    try:
        return images.decode(data)
    except InputError as error:
        raise type(error)(f"{name}: {error}", error.hint) from error


def as_seen(path: Path, side: int) -> "Image.Image":
    """The square in the middle of a picture, `side` pixels wide: what a vision tower gets."""
    from PIL import Image, ImageOps

    image = read_picture(path).image
    return ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)


def read_clip(path: Path) -> "Clip":
    """The first 15 s. Raises InputError, naming the file, for what is no usable recording."""
    from mmtui.pipeline import sound

    with opened(path) as file:
        try:
            return sound.decode(file)
        except InputError as error:
            raise InputError(f"{path}: {error}", error.hint) from error
        except OSError as error:
            raise InputError(f"{path}: can't be read: {error.strerror}") from None


def wav(clip: "Clip") -> bytes:
    """A clip as a file of 16 bits."""
    import numpy as np

    from mmtui.pipeline import sound

    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.RATE)
        file.writeframes((np.clip(clip, -1, 1) * 32767).astype("<i2").tobytes())
    return stream.getvalue()


def load(path: Path) -> Loaded:
    """Raises InputError, naming the file, for what is neither a picture nor a recording."""
    from mmtui.pipeline import images, sound

    with opened(path) as file:
        data = _read(file, str(path))
    try:
        image = picture(io.BytesIO(data), str(path)).image
        return Loaded("image", path.name, data, f"{image.width} x {image.height}")
    except images.NoImageError:
        pass
    try:
        clip = sound.decode(io.BytesIO(data))
        return Loaded("audio", path.name, data, length(clip), clip)
    except InputError as error:
        raise InputError(
            f"{path}: this is neither a picture nor a recording that mmtui can read",
            "JPEG, PNG, WebP, GIF, HEIC, AVIF and TIFF work; wav, flac, mp3, m4a, ogg and opus do",
        ) from error


def length(clip: "Clip") -> str:
    from mmtui.pipeline import sound

    return f"{len(clip) / sound.RATE:.1f} s"


def opened(path: Path) -> BinaryIO:
    """Open a regular file. What is opened is what was checked, and a FIFO does not block."""
    try:
        descriptor = os.open(
            path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
        status = os.fstat(descriptor)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{path}: can't be read: {reason}") from None
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        kind = describe_kind(status.st_mode)
        raise InputError(f"{path}: this is {kind}", "name an ordinary file")
    if not status.st_size:
        os.close(descriptor)
        raise InputError(f"{path}: the file is empty")
    return os.fdopen(descriptor, "rb")


def _read(file: BinaryIO, name: str) -> bytes:
    try:
        return file.read(MAX_IMAGE_BYTES + 1)
    except OSError as error:  # a stick that was pulled out
        raise InputError(f"{name}: can't be read: {error.strerror}") from None
