"""Load the files that a user attaches to a message: pictures and recordings."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.chat.conversation import Kind
from mmtui.errors import InputError
from mmtui.pipeline.input_files import decode_picture, open_file, prefix_notes, read_bytes

if TYPE_CHECKING:
    from mmtui.pipeline.speech.sound import Clip


@dataclass(frozen=True, eq=False)
class LoadedFile:
    """A picture or a recording that was read.

    Attributes:
        kind: Whether it is a picture or a recording.
        name: The name of the file, without its folder.
        data: The bytes of the file.
        detail: The size of a picture ("640 x 480") or the length of a recording ("3.2 s").
        clip: The decoded recording; None for a picture.
        notes: What the user should know about the file, such as that it is truncated.
    """

    kind: Kind
    name: str
    data: bytes
    detail: str
    clip: "Clip | None" = None
    notes: tuple[str, ...] = ()


def load(path: Path) -> LoadedFile:
    """Read a picture or a recording; its content decides which it is.

    Raises:
        InputError: The file is neither, or can't be read. The error names the file.
    """
    from mmtui.pipeline.speech import sound
    from mmtui.pipeline.vision import images

    with open_file(path) as file:
        data = read_bytes(file, str(path))
    try:
        return load_picture(data, path.name, str(path))
    except images.UnsupportedImageError:
        pass
    try:
        decoded = sound.decode(io.BytesIO(data))
        notes = prefix_notes(str(path), decoded.notes)
        length = format_length(decoded.clip)
        return LoadedFile("audio", path.name, data, length, decoded.clip, notes)
    except sound.UnsupportedAudioError as error:
        raise InputError(
            f"{path} is neither a picture nor a recording that mmtui can read",
            f"supported are {images.FORMAT_NAMES}; wav, flac, mp3, m4a, ogg and opus",
        ) from error
    except InputError as error:
        raise InputError(f"{path}: {error}", error.hint) from error


def load_picture(data: bytes, name: str, origin: str) -> LoadedFile:
    """Decode a picture.

    Args:
        data: The bytes of a picture file.
        name: The name of the attachment.
        origin: What errors and notes call the picture.

    Raises:
        InputError: The bytes are not a picture, or too many of its pixels are missing.
    """
    picture = decode_picture(io.BytesIO(data), origin)
    width, height = picture.size
    return LoadedFile("image", name, data, f"{width} x {height}", notes=picture.notes)


def format_length(clip: "Clip") -> str:
    """Return the length of a recording, such as "3.2 s"."""
    from mmtui.pipeline.speech import sound

    return f"{len(clip) / sound.RATE:.1f} s"
