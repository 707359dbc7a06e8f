"""File names as people type, paste and drop them.

If a file is dropped on a terminal, the terminal types its name quoted, with backslashes, or as a
file:// URI. People type `~`. macOS stores accents decomposed. `resolve` handles all of these, and
every file name from a user passes through it.
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
# Documents whose text is converted, and text files of any kind; other suffixes are read, too.
CONVERTED_SUFFIXES = {".docx", ".pdf"}
TEXT_SUFFIXES = {
    ".bat", ".bib", ".c", ".cc", ".cfg", ".conf", ".cpp", ".cs", ".css", ".csv", ".dart", ".diff",
    ".ex", ".go", ".h", ".hpp", ".hs", ".htm", ".html", ".ini", ".ipynb", ".java", ".jl", ".js",
    ".json", ".jsonl", ".jsx", ".kt", ".log", ".lua", ".m", ".md", ".nix", ".org", ".patch", ".php",
    ".pl", ".ps1", ".py", ".r", ".rb", ".rs", ".rst", ".scala", ".sh", ".sql", ".srt", ".svg",
    ".swift", ".tex", ".toml", ".ts", ".tsv", ".tsx", ".txt", ".vtt", ".vue", ".xhtml", ".xml",
    ".yaml", ".yml", ".zig",
}
# fmt: on
DOCUMENT_SUFFIXES = CONVERTED_SUFFIXES | TEXT_SUFFIXES
# Files that are attached if a text names them: their names are hardly ever meant otherwise.
SUFFIXES = PICTURE_SUFFIXES | RECORDING_SUFFIXES | CONVERTED_SUFFIXES
MAX_PASTE = 20_000  # characters; a longer paste is text

_WEB = re.compile(r"(https?|ftp)://\S+", re.IGNORECASE)
# Terminals escape the special characters of a shell, never letters: `C:\new` is not changed.
_ESCAPED = re.compile(r"\\([^A-Za-z0-9])")
# Where a path can start and end in a sentence. Chinese and Japanese text has no space before it.
_WORD = r"[^\W\u3000-\uffff]"
_PATH_START = rf"(?i)(?<!{_WORD})(?<![./\\~-])(?:/(?!/)|~[\w.-]*/|\.\.?/|file:/)"
_PATH_END = rf"(?i)(?:{'|'.join(map(re.escape, sorted(SUFFIXES)))})(?!{_WORD}|[/\\-])"
# A mention, as in "compare @old.py and @'new file.py'"; not the @ of a mail address.
_MENTION = re.compile(r"""(?<![\w@/])@(?:"([^"\n]+)"|'([^'\n]+)'|(\S+))""")
_PAGES = re.compile(r"(?s)(.+)#(\d[\d,\s-]*)")
_MAX_ENDS = 8  # possible ends of a path that are tried
_MAX_TRIES = 500  # possible paths in a text that are looked up on the disk
_MAX_LENGTH = 1000  # characters of a path in a sentence
_DRIVE = re.compile(r"([A-Za-z]):[\\/](?![\\/])")


def resolve(text: str | Path) -> Path:
    """Return the path that a text names, whether the file exists or not.

    An existing file with exactly this name is preferred. Otherwise spaces around the name, quotes,
    backslashes, `~`, `~user` and file: URIs are interpreted, and accents in names of files and
    folders match in either Unicode form.

    Raises:
        InputError: There is no such user as in `~user`, or the file is on another machine.
        UsageError: The text is empty, or a web address.
    """
    forms = list(_list_forms(str(text)))
    for form in forms:
        if (found := _find_existing(form)) is not None:
            return found
    text = str(text).strip()
    if not text:
        raise UsageError("the file name is empty")
    if _WEB.fullmatch(text):
        raise UsageError(f"{text} is on the web", _make_download_hint(text))
    if text.lower().startswith("file://") and _from_uri(text) is None:
        raise InputError(f"{text} is on another machine", "copy the file to this one")
    try:
        return _use_stored_names(Path(forms[-1]).expanduser())
    except RuntimeError as error:
        raise InputError(f"{text}: there is no such user") from error


def find_pasted(text: str) -> list[Path]:
    """Return the files that pasted text names, or none if any part of it is not a file."""
    text = text.strip()
    if not text or len(text) > MAX_PASTE:
        return []
    for pieces in ([text], _split_lines(text), _split_words(text)):
        files = [_find_file(piece) for piece in pieces]
        if files and all(files):
            return [file for file in files if file is not None]
    return []


def find_dropped(text: str) -> list[Path]:
    """Return the files of `find_pasted` if all of them can be attached.

    A text file must be named by its full path, as terminals do: other words could be the name of a
    file by chance.
    """
    files = find_pasted(text)
    return files if all(map(_is_dropped, files)) else []


def find_mentioned(text: str) -> list[Path]:
    """Return the files that a sentence names, as in "what is in ~/a b.jpg?" or "read @notes.md".

    Without the `@`, it must be a picture, a recording, a PDF or a Word document, and its path must
    start with `/`, `~/`, `~user/`, `./`, `../` or `file:`, because other words could be file names
    by chance. The file must exist. Pages of a document follow it: `@report.pdf#3-7`.
    """
    if len(text) > MAX_PASTE:
        return []
    found = dict.fromkeys(_find_at_mentions(text))
    tries = 0
    path_start = re.compile(_PATH_START)  # not at import, because it takes 10 ms
    for line in text.splitlines():
        ends = [end.end() for end in re.finditer(_PATH_END, line)]
        position = 0
        while ends and tries < _MAX_TRIES and (start := path_start.search(line, position)):
            position = start.end()
            ends = [end for end in ends if end > position]
            near = [end for end in ends[:_MAX_ENDS] if end - position < _MAX_LENGTH]
            for end in reversed(near):  # the longest path first, because names can contain spaces
                tries += 1
                file = _find_file(line[start.start() : end])
                if file is not None:
                    found[file], position = None, end
                    break
    return list(found)


def split_pages(text: str) -> tuple[str, str]:
    """Split the pages off the name of a document, as in "report.pdf#3-7"; "" are all pages.

    A file whose name ends like this is preferred.
    """
    match = _PAGES.fullmatch(text.strip())
    if match is None or _find_existing(text) is not None:
        return text, ""
    return match[1], match[2].strip(" ,")


def refuse_web_address(text: str) -> None:
    """Raise UsageError if a text is only the web address of a file that could be attached."""
    text = text.strip()
    if _WEB.fullmatch(text) and _get_web_suffix(text) in SUFFIXES:
        raise UsageError("web addresses are not opened", _make_download_hint(text))


def complete(prefix: str) -> list[str]:
    """Return the paths that start with `prefix`, folders with a slash at the end.

    Names with control characters are left out.
    """
    folder, beginning = os.path.split(prefix)
    try:
        directory = resolve(folder or ".")
        names = sorted(entry.name for entry in directory.iterdir())
        return [
            os.path.join(folder, name) + (os.sep if (directory / name).is_dir() else "")  # noqa: PTH118
            for name in names
            if name.startswith(beginning) and (beginning or not name.startswith("."))
            if one_line(name) == name
        ]
    except (OSError, ValueError, InputError, UsageError):  # unreadable, a NUL, an unknown ~user
        return []


def _is_dropped(file: Path) -> bool:
    suffix = file.suffix.lower()
    return suffix in SUFFIXES or (suffix in TEXT_SUFFIXES and file.is_absolute())


def _find_at_mentions(text: str) -> Iterator[Path]:
    """Yield the existing files that follow an `@`, with the pages that follow them."""
    for match in _MENTION.finditer(text):
        name = match[1] or match[2] or match[3]
        # Punctuation at the end can be of the sentence.
        names = [name, name.rstrip(".,;:!?)]}'\"")] if match[3] else [name]
        for each in dict.fromkeys(names):
            path, pages = split_pages(each)
            if (file := _find_file(path)) is not None:
                yield Path(f"{file}#{pages}") if pages else file
                break


def _list_forms(text: str) -> Iterator[str]:
    """Yield the paths that a text can mean; the last one is used if none of them exists."""
    yield text
    text = text.strip()
    if os.name == "posix" and len(words := _split_words(text)) == 1:
        yield words[0]
    if len(text) > 2 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    elif os.name == "posix":
        text = _ESCAPED.sub(r"\1", text)
    if drive := _DRIVE.match(text):  # copied in Windows and pasted into WSL
        yield f"/mnt/{drive[1].lower()}/{text[3:]}".replace("\\", "/")
    if (path := _from_uri(text)) is not None:
        text = os.fsdecode(unquote_to_bytes(os.fsencode(path)))
        yield text
        yield path  # some programs don't encode the path
    yield text


def _from_uri(text: str) -> str | None:
    """Return the encoded path of a file: URI; None for other texts and for other machines.

    `#` and `?` are part of the name, because many programs don't encode them.
    """
    if not (found := re.match(r"file:(?://([^/]*))?(?=/)", text, re.IGNORECASE)):
        return None
    import socket  # only file: URIs need it

    host, here = (found[1] or "").lower(), socket.gethostname().lower()
    if host not in ("", "localhost", here, here.partition(".")[0]):
        return None
    path = text[found.end() :]
    return path[1:] if os.name == "nt" and _DRIVE.match(path[1:]) else path


def _find_file(text: str) -> Path | None:
    """Return the existing file that a text names; None if there is none."""
    for form in _list_forms(text):
        if (found := _find_existing(form)) is not None and found.is_file():
            return found
    return None


def _find_existing(form: str) -> Path | None:
    """Return the file or folder of this name, or of the name with `~` expanded; None if neither."""
    if not form:
        return None
    try:
        for path in dict.fromkeys((Path(form), Path(form).expanduser())):
            if os.path.lexists(path):
                return path
            if (stored := _use_stored_names(path)) != path and stored.exists():
                return stored
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, an unknown ~user
        pass
    return None


def _use_stored_names(path: Path) -> Path:
    """Return a path whose existing parts have the Unicode form in which they are stored."""
    if str(path).isascii():
        return path
    found = Path(path.anchor)
    for part in path.parts[1 if path.anchor else 0 :]:
        found = found / _get_stored_name(found, part)
    return found


def _get_stored_name(folder: Path, name: str) -> str:
    """Return the name of an entry of a folder that equals `name` after Unicode normalization."""
    if not name.isascii() and not os.path.lexists(folder / name):
        normalized = unicodedata.normalize("NFC", name)
        try:
            for entry in os.listdir(folder):  # noqa: PTH208 - the names alone
                if unicodedata.normalize("NFC", entry) == normalized:
                    return entry
        except OSError:  # the folder is missing or can't be read
            pass
    return name


def _split_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _split_words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote that is not closed
        return []


def _make_download_hint(address: str) -> str:
    if _get_web_suffix(address) in PICTURE_SUFFIXES | {""}:
        return f"download it: curl -s {shlex.quote(address)} | mmtui ask --image -"
    if _get_web_suffix(address) in CONVERTED_SUFFIXES:
        return f"download it: curl -s {shlex.quote(address)} | mmtui ask --file -"
    return f"download it: curl -O {shlex.quote(address)}"


def _get_web_suffix(address: str) -> str:
    return Path(re.split("[?#]", address)[0]).suffix.lower()
