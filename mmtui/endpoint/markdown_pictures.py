"""Pictures in the Markdown of a reply: ![alt](data:image/png;base64,...)."""

import binascii
import re
from collections.abc import Callable

from mmtui.endpoint.media import MAX_BYTES, Found, LeftOut, decode_base64

_START = re.compile(r"!\[[^\]\n]{0,300}\]\(\s{0,4}<?(?=data:)", re.IGNORECASE)
_MAX_START = 400  # characters of the longest start
_MAX_URI = MAX_BYTES * 4 // 3 + 1000
_MIN_PICTURE = 200  # characters in base64; what is shorter is an example, and stays in the text
_MAX_EXAMPLE = 10 * _MIN_PICTURE  # characters; what is longer, and base64, is a picture
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/=_%\s-]")  # nor in its forms in URLs


class MarkdownPictures:
    """Takes the pictures out of a text that arrives in pieces.

    A picture in a code block, or one whose data is damaged and short, stays in the text: it is an
    example.
    """

    def __init__(self, read_uri: Callable[[str], Found | None]) -> None:
        """Create the filter of a reply; `read_uri` returns the picture in a data URI."""
        self._read_uri = read_uri
        self._held = ""  # what may be the start of a picture
        self._start = ""  # of the picture whose URI arrives
        self._uri: list[str] | None = None
        self._size = 0
        self._shown: list[str] = []  # the text before, to find code blocks in it

    def write(self, text: str) -> list[Found]:
        """Add a piece; return texts and pictures in their order."""
        found: list[Found] = []
        while text:
            if self._uri is None:
                text = self._read_text(text, found)
            else:
                text = self._read_data(text, found)
        return found

    def finish(self) -> list[Found]:
        """Return the rest of the text, after the last piece."""
        rest, self._held = self._held, ""
        if self._uri is not None:
            uri, self._uri = "".join(self._uri), None
            if len(uri) > _MIN_PICTURE and not _has_text(uri):
                return [LeftOut("a picture of the answer is left out: it is cut off")]
            rest = f"{self._start}{uri}"
        return [rest] if rest else []

    def _read_text(self, text: str, found: list[Found]) -> str:
        """Pass on a text up to a picture, and return what follows its start."""
        text, self._held = self._held + text, ""
        start = _START.search(text)
        if start is None:
            end = _find_possible_start(text)
            self._show(text[:end], found)
            self._held = text[end:]
            return ""
        self._show(text[: start.start()], found)
        if self._is_in_code():
            self._show(start[0], found)
        else:
            self._start, self._uri, self._size = start[0], [], 0
        return text[start.end() :]

    def _read_data(self, text: str, found: list[Found]) -> str:
        """Collect the URI of a picture, and return what follows the picture."""
        assert self._uri is not None
        piece, close, rest = text.partition(")")
        self._size += len(piece)
        if self._size <= _MAX_URI:
            self._uri.append(piece)
        if close:
            uri, self._uri = "".join(self._uri), None
            if _is_example(uri):
                self._show(self._start, found)
                return f"{uri}){rest}"  # there may be a picture in it
            if (picture := self._read_uri(_strip_title(uri))) is not None:
                found.append(picture)
        return rest

    def _show(self, text: str, found: list[Found]) -> None:
        if text:
            self._shown.append(text)
            found.append(text)

    def _is_in_code(self) -> bool:
        before = "".join(self._shown)
        return before.count("```") % 2 == 1 or before.endswith("`")


def _find_possible_start(text: str) -> int:
    """Return where a picture may start whose URI has not arrived; else the length of the text."""
    end = len(text) - text.endswith("!")
    at = text.rfind("![", max(0, len(text) - _MAX_START))
    if at < 0:
        return end
    alt, bracket, target = text[at + 2 :].partition("](")
    if bracket:
        is_possible = "data:".startswith(target.lstrip(" <").lower())
    else:
        is_possible = "\n" not in alt and "]" not in alt[:-1]
    return at if is_possible else end


def _strip_title(uri: str) -> str:
    """Return a URI without what may follow it in Markdown, as in <data:...> "title"."""
    return uri.partition(">")[0].partition(' "')[0].strip()


def _has_text(uri: str) -> bool:
    """Return whether a URI is followed by text, because its bracket is not closed."""
    _, comma, encoded = uri.partition(",")
    return not comma or _NOT_BASE64.search(_strip_title(encoded[:_MAX_EXAMPLE])) is not None


def _is_example(uri: str) -> bool:
    """Return whether a URI is no picture, but an example in an explanation of data URIs."""
    encoded = uri.partition(",")[2]
    if _has_text(uri):
        return True
    if len(encoded) > _MAX_EXAMPLE:
        return False
    try:
        decode_base64(_strip_title(encoded))
    except binascii.Error:
        return True
    return len(encoded) < _MIN_PICTURE
