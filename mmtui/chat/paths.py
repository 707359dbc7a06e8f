"""Paths as people type, paste and drop them: quoted, escaped, raw with spaces, as file:// URIs."""

import os
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mmtui.chat.conversation import Kind
from mmtui.errors import InputError
from mmtui.text import one_line

ENDINGS: dict[Kind, set[str]] = {
    "image": {
        ".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic",
        ".heif",
    },
    "audio": {".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".webm", ".aac", ".amr", ".aiff"},
}  # fmt: skip
LONGEST = 20_000  # characters; a longer paste is text


def pasted(text: str) -> list[Path]:
    """The files that a paste names, all of them or none: [] is text."""
    text = text.strip()
    if not text or len(text) > LONGEST:
        return []
    if (whole := _path(text)) is not None:
        return [whole]
    for pieces in (_lines(text), _words(text)):
        paths = [_path(piece) for piece in pieces]
        if paths and all(paths):
            return [path for path in paths if path is not None]
    return []


def dropped(text: str) -> list[Path]:
    """As `pasted`, but only pictures and recordings: words may be names of files, too."""
    files = pasted(text)
    known = ENDINGS["image"] | ENDINGS["audio"]
    return files if all(file.suffix.lower() in known for file in files) else []


def typed(text: str) -> Path:
    """A path that need not be there. Raises InputError for the ~home of nobody."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"{text}: there is no such user") from error


def complete(begun: str) -> list[str]:
    """What a path that is being typed may become, folders with a slash at the end.

    Names that would drive the terminal are left out.
    """
    folder, beginning = os.path.split(begun)
    try:
        place = typed(folder or ".")
        names = sorted(entry.name for entry in place.iterdir())
        return [
            os.path.join(folder, name) + (os.sep if (place / name).is_dir() else "")  # noqa: PTH118
            for name in names
            if name.startswith(beginning) and (beginning or not name.startswith("."))
            if one_line(name) == name
        ]
    except (OSError, ValueError, InputError):  # not to be read, a NUL, an unknown ~user
        return []


def _path(text: str) -> Path | None:
    """The file that a text names in whatever form; None if there is none."""
    for form in (text, _unquoted(text), _unescaped(text), _of_uri(text)):
        if form:
            try:
                path = Path(form).expanduser()
                if path.is_file():
                    return path
            except (OSError, ValueError, RuntimeError):  # too long, a NUL, an unknown ~user
                continue
    return None


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 2 and text[0] == text[-1] and text[0] in "'\"" else ""


def _unescaped(text: str) -> str:
    words = _words(text)
    return words[0] if len(words) == 1 else ""


def _of_uri(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    is_here = parts.scheme == "file" and parts.netloc in ("", "localhost")
    return unquote(parts.path) if is_here else ""
