"""Paths as people type, paste and drop them: quoted, escaped, raw with spaces, as file:// URIs."""

import os
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

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


def complete(begun: str) -> list[str]:
    """What a path that is being typed may become, folders with a slash at the end."""
    folder, beginning = os.path.split(begun)
    place = Path(folder or ".").expanduser()
    try:
        names = sorted(entry.name for entry in place.iterdir())
    except OSError:
        return []
    return [
        os.path.join(folder, name) + (os.sep if (place / name).is_dir() else "")  # noqa: PTH118
        for name in names
        if name.startswith(beginning) and (beginning or not name.startswith("."))
    ]


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
