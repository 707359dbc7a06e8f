"""Reading of pictures and recordings from files, with errors that name the file."""

import io
import os
import stat
import wave
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mmtui.errors import InputError
from mmtui.files import describe_kind

if TYPE_CHECKING:
    from PIL import Image

    from mmtui.pipeline.assets.spec import VisionSpec
    from mmtui.pipeline.speech.clip import Clip
    from mmtui.pipeline.speech.sound import Sound
    from mmtui.pipeline.vision.images import Picture

# Decoders are imported where they are used, so that the app starts without them.

MAX_BYTES = 256_000_000  # size limit of a picture, and of any attachment of a chat


def read_picture(path: Path) -> "Picture":
    """Read a picture.

    Raises:
        InputError: The file is not a picture, is damaged, or can't be read.
    """
    with open_file(path) as file:
        return decode_picture(file, str(path))


def decode_picture(file: BinaryIO, name: str) -> "Picture":
    """Decode a picture from an open file.

    Args:
        file: The file, at its start.
        name: The name of the file in errors and notes.

    Raises:
        InputError: The file is not a picture, is damaged, or can't be read.
    """
    from mmtui.pipeline.vision import images

    data = read_bytes(file, name)
    if not data:
        raise InputError(f"{name}: the file is empty")
    try:
        picture = images.decode(data)
    except InputError as error:
        raise type(error)(f"{name}: {error}", error.hint) from error
    return replace(picture, notes=prefix_notes(name, picture.notes))


def read_model_input(path: Path, spec: "VisionSpec") -> "Image.Image":
    """Read a picture, and resize it to the square that a vision tower gets.

    Raises:
        InputError: The file is not a picture, is damaged, or can't be read.
    """
    from mmtui.pipeline.vision.preprocessing import resize_to_square

    return resize_to_square(read_picture(path).image, spec)


def read_sound(path: Path) -> "Sound":
    """Read the first 15 s of a recording.

    Raises:
        InputError: The file is not a recording, is damaged, or can't be read.
    """
    from mmtui.pipeline.speech import sound

    with open_file(path) as file:
        try:
            recording = sound.decode(file)
        except InputError as error:
            raise InputError(f"{path}: {error}", error.hint) from error
        except OSError as error:
            raise InputError(f"{path}: can't be read: {error.strerror}") from None
    return replace(recording, notes=prefix_notes(str(path), recording.notes))


def read_clip(path: Path) -> "Clip":
    """Read the first 15 s of a recording, mono float32 at 16 kHz (samples,).

    Raises:
        InputError: The file is not a recording, is damaged, or can't be read.
    """
    return read_sound(path).clip


def read_samples(path: Path, rate: int | None = None) -> tuple[int, Iterator[bytes]]:
    """Start to decode a whole sound file.

    Args:
        path: The file.
        rate: Samples per second; None chooses a rate that fits the file.

    Returns:
        The rate, and the sound in blocks of mono 16-bit samples, which may raise InputError, too.

    Raises:
        InputError: The file is not a sound file, or can't be read.
    """
    from mmtui.pipeline.speech import sound_stream

    if rate is None:
        with open_file(path) as file:
            rate = sound_stream.find_rate(file)
    return rate, stream_samples(path, rate)


def stream_samples(path: Path, rate: int) -> Iterator[bytes]:
    """Decode a whole sound file in blocks of mono 16-bit samples.

    Args:
        path: The file.
        rate: Samples per second.

    Raises:
        InputError: The file is not a sound file, or can't be read.
    """
    from mmtui.pipeline.speech import sound_stream

    with open_file(path) as file:
        yield from sound_stream.decode_samples(file, rate)


def encode_wav(clip: "Clip") -> bytes:
    """Encode samples, mono float32 at 16 kHz (samples,), as a WAV file with 16 bits."""
    import numpy as np

    from mmtui.pipeline.speech.clip import RATE

    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(clip, -1, 1) * 32767).astype("<i2").tobytes())
    return stream.getvalue()


def open_file(path: Path) -> BinaryIO:
    """Open a regular file that is not empty.

    The open file is checked, not its path, so that it can't be exchanged in between. A FIFO does
    not block.

    Raises:
        InputError: The file is missing, empty, unreadable or not a regular file.
    """
    try:
        descriptor = os.open(
            path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
        status = os.fstat(descriptor)
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{path}: can't be read: {reason}") from None
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        kind = describe_kind(status.st_mode)
        raise InputError(f"{path}: this is {kind}", "pass a regular file")
    if not status.st_size:
        os.close(descriptor)
        raise InputError(f"{path}: the file is empty")
    return os.fdopen(descriptor, "rb")


def read_bytes(file: BinaryIO, name: str) -> bytes:
    """Read an open file.

    Args:
        file: The file, at its start.
        name: The name of the file in errors.

    Raises:
        InputError: The file can't be read, or is larger than `MAX_BYTES`.
    """
    try:
        data = file.read(MAX_BYTES + 1)
    except OSError as error:  # such as a USB drive that was removed
        raise InputError(f"{name}: can't be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{name}: the file has more than {MAX_BYTES // 1_000_000} MB, the limit")
    return data


def prefix_notes(name: str, notes: tuple[str, ...]) -> tuple[str, ...]:
    """Put the name of a file in front of its notes."""
    return tuple(f"{name}: {note}" for note in notes)
