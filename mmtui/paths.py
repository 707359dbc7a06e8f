"""File names as people type, paste and drop them.

A terminal that a file is dropped on types its name quoted, with backslashes, or as a file:// URI; a
person types `~`; a Mac stores accents decomposed. `resolve` understands all of them, and is the
only place that does.
"""

import os
import re
import shlex
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote_to_bytes

from mmtui.errors import InputError, UsageError
from mmtui.text import one_line

# fmt: off
PICTURE_SUFFIXES = {
    ".apng", ".avif", ".avifs", ".bmp", ".gif", ".heic", ".heics", ".heif", ".hif", ".ico",
    ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
    ".tga", ".tif", ".tiff", ".webp",
}
RECORDING_SUFFIXES = {
    ".3g2", ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".avi", ".caf",
    ".flac", ".m4a", ".m4b", ".m4r", ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4",
    ".mpeg", ".mpg", ".mpga", ".oga", ".ogg", ".ogv", ".ogx", ".opus", ".snd", ".spx", ".voc",
    ".w64", ".wav", ".wave", ".weba", ".webm", ".wma", ".wmv", ".wv",
}
# fmt: on
SUFFIXES = PICTURE_SUFFIXES | RECORDING_SUFFIXES
MAX_PASTE = 20_000  # characters; a longer paste is text

_WEB = re.compile(r"(https?|ftp)://\S+", re.IGNORECASE)
# Terminals escape what a shell would understand, never a letter: `C:\new` is left alone.
_ESCAPED = re.compile(r"\\([^A-Za-z0-9])")
# Where a path may begin and end in a sentence. No space parts it from Chinese or Japanese.
_WORD = r"[^\W\u3000-\uffff]"
_PATH_START = rf"(?i)(?<!{_WORD})(?<![./\\~-])(?:/(?!/)|~[\w.-]*/|\.\.?/|file:/)"
_PATH_END = rf"(?i)(?:{'|'.join(map(re.escape, sorted(SUFFIXES)))})(?!{_WORD}|[/\\-])"
_MOST_ENDS = 8  # of a path, among which its own is looked for
_MOST_TRIES = 500  # in a text: each is a question to the disk
_LONGEST = 1000  # characters of a path in a sentence
_DRIVE = re.compile(r"([A-Za-z]):[\\/](?![\\/])")


def resolve(text: str | Path) -> Path:
    """Find the file that a text names, or where it would be if it is yet to be written.

    A file that is named exactly so always wins. Otherwise spaces around the name, quotes,
    backslashes, `~`, `~user` and file: URIs are understood, and accents are found in either Unicode
    form, in folders too.

    Raises:
        InputError: `~user` is nobody, or the file is on another machine.
        UsageError: The text is empty, or a web address.
    """
    forms = list(_forms(str(text)))
    for form in forms:
        if (found := _existing(form)) is not None:
            return found
    text = str(text).strip()
    if not text:
        raise UsageError("the name of a file is empty")
    if _WEB.fullmatch(text):
        raise UsageError(f"{text} is on the web", _download_hint(text))
    if text.lower().startswith("file://") and _from_uri(text) is None:
        raise InputError(f"{text} is on another machine", "copy the file to this one")
    try:
        return _with_stored_names(Path(forms[-1]).expanduser())
    except RuntimeError as error:
        raise InputError(f"{text}: there is no such user") from error


def pasted(text: str) -> list[Path]:
    """Find the files that a paste names: all of them, or none if any part is something else."""
    text = text.strip()
    if not text or len(text) > MAX_PASTE:
        return []
    for pieces in ([text], _lines(text), _words(text)):
        files = [_file(piece) for piece in pieces]
        if files and all(files):
            return [file for file in files if file is not None]
    return []


def dropped(text: str) -> list[Path]:
    """As `pasted`, but only pictures and recordings: words may be names of files, too."""
    files = pasted(text)
    return files if all(file.suffix.lower() in SUFFIXES for file in files) else []


def mentioned(text: str) -> list[Path]:
    """Find the pictures and recordings that a sentence names, as in "what is in ~/a b.jpg?".

    Only a path that begins with `/`, `~/`, `~user/`, `./`, `../` or `file:` counts, and only if its
    file is there: a name alone may be no more than a word.
    """
    found: dict[Path, None] = {}
    tries = 0
    if len(text) > MAX_PASTE:
        return []
    path_start = re.compile(_PATH_START)  # here, for it takes 10 ms, and every command imports this
    for line in text.splitlines():
        ends = [end.end() for end in re.finditer(_PATH_END, line)]
        begin = 0
        while ends and tries < _MOST_TRIES and (start := path_start.search(line, begin)):
            begin = start.end()
            ends = [end for end in ends if end > begin]
            near = [end for end in ends[:_MOST_ENDS] if end - begin < _LONGEST]
            for end in reversed(near):  # the longest one: names have spaces
                tries += 1
                file = _file(line[start.start() : end])
                if file is not None:
                    found[file], begin = None, end
                    break
    return list(found)


def refuse_web_address(text: str) -> None:
    """Raise UsageError for a text that is nothing but a picture's or a recording's web address."""
    text = text.strip()
    if _WEB.fullmatch(text) and _web_suffix(text) in SUFFIXES:
        raise UsageError("mmtui opens no web addresses", _download_hint(text))


def complete(begun: str) -> list[str]:
    """List what a path that is being typed may become, folders with a slash at the end.

    Names that would drive the terminal are left out.
    """
    folder, beginning = os.path.split(begun)
    try:
        place = resolve(folder or ".")
        names = sorted(entry.name for entry in place.iterdir())
        return [
            os.path.join(folder, name) + (os.sep if (place / name).is_dir() else "")  # noqa: PTH118
            for name in names
            if name.startswith(beginning) and (beginning or not name.startswith("."))
            if one_line(name) == name
        ]
    except (OSError, ValueError, InputError, UsageError):  # unreadable, a NUL, an unknown ~user
        return []


def _forms(text: str) -> Iterator[str]:
    """Yield what a text may mean; the last one is what it means if no such file exists."""
    yield text
    text = text.strip()
    if os.name == "posix" and len(words := _words(text)) == 1:
        yield words[0]
    if len(text) > 2 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    elif os.name == "posix":
        text = _ESCAPED.sub(r"\1", text)
    if drive := _DRIVE.match(text):  # copied in Windows, pasted into the Linux that it runs
        yield f"/mnt/{drive[1].lower()}/{text[3:]}".replace("\\", "/")
    if (path := _from_uri(text)) is not None:
        text = os.fsdecode(unquote_to_bytes(os.fsencode(path)))
        yield text
        yield path  # some programs encode nothing
    yield text


def _from_uri(text: str) -> str | None:
    """Take the path out of a file: URI, still encoded; None for another text or machine.

    `#` and `?` belong to the name, for many programs leave them as they are.
    """
    if not (found := re.match(r"file:(?://([^/]*))?(?=/)", text, re.IGNORECASE)):
        return None
    import socket  # of a file: URI alone

    host, here = (found[1] or "").lower(), socket.gethostname().lower()
    if host not in ("", "localhost", here, here.partition(".")[0]):
        return None
    path = text[found.end() :]
    return path[1:] if os.name == "nt" and _DRIVE.match(path[1:]) else path


def _file(text: str) -> Path | None:
    """The file that a text names; None if there is none."""
    for form in _forms(text):
        if (found := _existing(form)) is not None and found.is_file():
            return found
    return None


def _existing(form: str) -> Path | None:
    """The file or folder of that name, then with `~` expanded; None if there is neither."""
    if not form:
        return None
    try:
        for path in dict.fromkeys((Path(form), Path(form).expanduser())):
            if os.path.lexists(path):
                return path
            if (stored := _with_stored_names(path)) != path and stored.exists():
                return stored
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, an unknown ~user
        pass
    return None


def _with_stored_names(path: Path) -> Path:
    """A path, each of its parts in the Unicode form in which the disk has it, if it has it."""
    if str(path).isascii():
        return path
    found = Path(path.anchor)
    for part in path.parts[1 if path.anchor else 0 :]:
        found = found / _stored_name(found, part)
    return found


def _stored_name(folder: Path, name: str) -> str:
    if not name.isascii() and not os.path.lexists(folder / name):
        wanted = unicodedata.normalize("NFC", name)
        try:
            for entry in os.listdir(folder):  # noqa: PTH208 - the names alone
                if unicodedata.normalize("NFC", entry) == wanted:
                    return entry
        except OSError:  # no such folder, or one that can't be read
            pass
    return name


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote that is not closed
        return []


def _download_hint(address: str) -> str:
    if _web_suffix(address) in PICTURE_SUFFIXES | {""}:
        return f"download it: curl -s {shlex.quote(address)} | mmtui ask --image -"
    return f"download it: curl -O {shlex.quote(address)}"


def _web_suffix(address: str) -> str:
    return Path(re.split("[?#]", address)[0]).suffix.lower()
