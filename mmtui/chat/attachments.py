"""Load the files that a user attaches to a message: pictures, recordings and documents."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.chat.conversation import Attachment, Kind
from mmtui.chat.documents import NO_PROGRESS, Reading, describe_document
from mmtui.errors import InputError
from mmtui.paths import PICTURE_SUFFIXES, RECORDING_SUFFIXES
from mmtui.pipeline.documents.formats import detect_format
from mmtui.pipeline.documents.page_ranges import split_ranges
from mmtui.pipeline.documents.reading import draw_pages, is_pdf, read_document
from mmtui.pipeline.documents.recognition import recognize_page
from mmtui.pipeline.input_files import decode_picture, open_file, prefix_notes, read_bytes

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip


_HEAD_BYTES = 1024


@dataclass(frozen=True, eq=False)
class LoadedFile:
    """A picture, a recording or a document that was read.

    Attributes:
        kind: Which of them it is.
        name: The name of the file, without its folder.
        data: The bytes of the file; of a document its text.
        detail: The size of a picture ("640 x 480"), the length of a recording ("3.2 s"), or the
            length of a document ("12 pages, about 3,400 tokens").
        clip: The decoded recording; None for other files.
        notes: What the user should know about the file, such as that it is truncated.
    """

    kind: Kind
    name: str
    data: bytes
    detail: str
    clip: "Clip | None" = None
    notes: tuple[str, ...] = ()


def load(path: Path, reading: Reading = NO_PROGRESS) -> LoadedFile:
    """Read a file; its content decides what it is.

    Args:
        path: The file; pages of a PDF follow its name, as in "report.pdf#3-7".
        reading: Gets the progress of a document, and can cancel it.

    Raises:
        InputError: The file is of another kind, or can't be read. The error names the file.
        UsageError: The pages can't be parsed.
        ConversionCancelledError: `reading` cancelled it.
    """
    if is_document(path):
        return load_document(path, reading)
    if (media := _load_media(path)) is not None:
        return media
    if not _has_media_suffix(path):
        return load_document(path, reading)  # text in UTF-16 looks like a binary file
    from mmtui.pipeline.vision.images import FORMAT_NAMES

    raise InputError(
        f"{path} is neither a picture nor a recording that mmtui can read",
        f"supported are {FORMAT_NAMES}; wav, flac, mp3, m4a, ogg and opus",
    )


def is_document(path: Path) -> bool:
    """Return whether a file is read as a document; False for a binary file that may be another.

    Raises:
        InputError: The file can't be read.
    """
    name, ranges = split_ranges(str(path))
    if ranges is not None:
        return True
    return not _has_media_suffix(path) and not _is_binary(Path(name))


def load_document(path: Path, reading: Reading = NO_PROGRESS) -> LoadedFile:
    """Read a document.

    Args:
        path: The file; pages of a PDF follow its name.
        reading: Gets the progress, and can cancel it.

    Raises:
        InputError: The file is not a document, or can't be read.
        UsageError: The pages can't be parsed.
        ConversionCancelledError: `reading` cancelled it.
    """
    name, ranges = split_ranges(str(path))
    document = read_document(
        Path(name),
        ranges,
        recognize=recognize_page,
        report=reading.report,
        is_cancelled=reading.is_cancelled,
    )
    data = document.dump().encode("utf-8")
    detail = describe_document(document)
    return LoadedFile("document", document.name, data, detail, notes=document.notes)


def load_pages(path: Path, reading: Reading = NO_PROGRESS) -> list[LoadedFile]:
    """Read a file; the pages of a PDF are pictures.

    Args:
        path: The file; pages of a PDF follow its name.
        reading: Gets the progress, and can cancel it.

    Raises:
        InputError, UsageError, ConversionCancelledError: As of `load` and `load_document`, or there
            are too many pages.
    """
    name, ranges = split_ranges(str(path))
    if not is_pdf(Path(name)):
        return [load(path, reading)]
    pages = draw_pages(Path(name), ranges, report=reading.report, is_cancelled=reading.is_cancelled)
    return [
        load_picture(data, f"{Path(name).name}#{number}", f"{name}#{number}")
        for number, data in pages
    ]


def _has_media_suffix(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES | RECORDING_SUFFIXES


def _is_binary(path: Path) -> bool:
    """Return whether a file is neither text nor a document that is converted."""
    with open_file(path) as file:
        head = file.read(_HEAD_BYTES)
    try:
        return b"\0" in head and detect_format(head, path.name) == "text"
    except InputError:  # a document of another format, which is reported when it is read
        return False


def _load_media(path: Path) -> LoadedFile | None:
    """Read a picture or a recording; return None if the file is neither."""
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
    except sound.UnsupportedAudioError:
        return None
    except InputError as error:
        raise InputError(f"{path}: {error}", error.hint) from error
    notes = prefix_notes(str(path), decoded.notes)
    return LoadedFile("audio", path.name, data, format_length(decoded.clip), decoded.clip, notes)


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
    from mmtui.pipeline.speech.clip import RATE

    return f"{len(clip) / RATE:.1f} s"


def list_transcripts(attachments: Iterable[Attachment]) -> list[str]:
    """Return the transcripts of the recordings among attachments."""
    return [file.transcript for file in attachments if file.kind == "audio" and file.transcript]
