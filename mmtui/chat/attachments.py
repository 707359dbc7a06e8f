"""Files that a user attaches to a message: a picture or a recording, whichever they are."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.chat.conversation import Kind
from mmtui.errors import InputError
from mmtui.pipeline.input_files import add_name, decode_picture, open_file, read_bytes

if TYPE_CHECKING:
    from mmtui.pipeline.speech.sound import Clip


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


def load(path: Path) -> Loaded:
    """Raises InputError, naming the file, for what is neither a picture nor a recording."""
    from mmtui.pipeline.speech import sound
    from mmtui.pipeline.vision import images

    with open_file(path) as file:
        data = read_bytes(file, str(path))
    try:
        return loaded_picture(data, path.name, str(path))
    except images.NoImageError:
        pass
    try:
        heard = sound.decode(io.BytesIO(data))
        notes = add_name(str(path), heard.notes)
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
    found = decode_picture(io.BytesIO(data), origin)
    width, height = found.size
    return Loaded("image", name, data, f"{width} x {height}", notes=found.notes)


def length(clip: "Clip") -> str:
    from mmtui.pipeline.speech import sound

    return f"{len(clip) / sound.RATE:.1f} s"
