"""Files that a user attaches: opened with care, decoded, or refused with a reason."""

import io
import os
import stat
import wave
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mmtui.chat.conversation import Kind
from mmtui.errors import InputError
from mmtui.files import describe_kind

if TYPE_CHECKING:
    from PIL import Image

    from mmtui.pipeline.speech.sound import Clip, Sound
    from mmtui.pipeline.vision.images import Picture

# Decoders are imported where they are used: a chat begins before it needs one.

MAX_BYTES = 256_000_000  # of a picture, and of any file that a chat keeps


@dataclass(frozen=True, eq=False)
class Loaded:
    """A file that was read.

    Attributes:
        kind: Whether it is a picture or a recording.
        name: That of the file, without its folder.
        data: The file's bytes.
        detail: "640 x 480" or "3.2 s".
        clip: The decoded recording.
        notes: What a person should know about the file, such as that it is cut off.
    """

    kind: Kind
    name: str
    data: bytes
    detail: str
    clip: "Clip | None" = None
    notes: tuple[str, ...] = ()


def read_picture(path: Path) -> "Picture":
    """Raises InputError, naming the file, for what is no usable picture."""
    with opened(path) as file:
        return picture(file, str(path))


def picture(file: BinaryIO, name: str) -> "Picture":
    """A picture from an open file. `name` is what errors and notes call it."""
    from mmtui.pipeline.vision import images

    data = _read(file, name)
    if not data:
        raise InputError(f"{name}: the file is empty")
    try:
        decoded = images.decode(data)
    except InputError as error:
        raise type(error)(f"{name}: {error}", error.hint) from error
    return replace(decoded, notes=_named(name, decoded.notes))


def as_seen(path: Path, side: int) -> "Image.Image":
    """The square in the middle of a picture, `side` pixels wide: what a vision tower gets."""
    from PIL import Image, ImageOps

    image = read_picture(path).image
    return ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)


def read_sound(path: Path) -> "Sound":
    """The first 15 s. Raises InputError, naming the file, for what is no usable recording."""
    from mmtui.pipeline.speech import sound

    with opened(path) as file:
        try:
            decoded = sound.decode(file)
        except InputError as error:
            raise InputError(f"{path}: {error}", error.hint) from error
        except OSError as error:
            raise InputError(f"{path}: can't be read: {error.strerror}") from None
    return replace(decoded, notes=_named(str(path), decoded.notes))


def read_clip(path: Path) -> "Clip":
    """As `read_sound`, without its notes: of a recording that was attached before."""
    return read_sound(path).clip


def wav(clip: "Clip") -> bytes:
    """A clip as a file of 16 bits."""
    import numpy as np

    from mmtui.pipeline.speech import sound

    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.RATE)
        file.writeframes((np.clip(clip, -1, 1) * 32767).astype("<i2").tobytes())
    return stream.getvalue()


def load(path: Path) -> Loaded:
    """Raises InputError, naming the file, for what is neither a picture nor a recording."""
    from mmtui.pipeline.speech import sound
    from mmtui.pipeline.vision import images

    with opened(path) as file:
        data = _read(file, str(path))
    try:
        return loaded_picture(data, path.name, str(path))
    except images.NoImageError:
        pass
    try:
        heard = sound.decode(io.BytesIO(data))
        notes = _named(str(path), heard.notes)
        return Loaded("audio", path.name, data, length(heard.clip), heard.clip, notes)
    except sound.NoSoundFileError as error:
        raise InputError(
            f"{path}: this is neither a picture nor a recording that mmtui can read",
            "JPEG, PNG, WebP, GIF, HEIC, AVIF and TIFF work; wav, flac, mp3, m4a, ogg and opus do",
        ) from error
    except InputError as error:
        raise InputError(f"{path}: {error}", error.hint) from error


def loaded_picture(data: bytes, name: str, origin: str) -> Loaded:
    """A picture to attach. `origin` is what errors and notes call it."""
    found = picture(io.BytesIO(data), origin)
    width, height = found.size
    return Loaded("image", name, data, f"{width} x {height}", notes=found.notes)


def length(clip: "Clip") -> str:
    from mmtui.pipeline.speech import sound

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
        data = file.read(MAX_BYTES + 1)
    except OSError as error:  # a stick that was pulled out
        raise InputError(f"{name}: can't be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{name}: the file has more than {MAX_BYTES // 1_000_000} MB, the limit")
    return data


def _named(name: str, notes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}: {note}" for note in notes)
