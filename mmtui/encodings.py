"""Detection of the encoding of bytes, which may also be a picture or a recording."""

import codecs

from mmtui.errors import InputError

# UTF-32 comes before UTF-16, because its little-endian mark starts with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_SOUNDS = (
    b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf1", b"OggS", b"fLaC", b"FORM", b"\x1aE\xdf\xa3",
)  # fmt: skip
# Control characters that are rare in text. Those that logs contain, for terminals and printers, are
# not among them: bell to carriage return, and escape.
_CONTROLS = {chr(code) for code in (*range(7), *range(14, 27), *range(28, 32), 127)}
_MIN_LENGTH = 32  # characters; a shorter text is not judged by its share of ASCII


def decode(data: bytes, name: str = "stdin") -> str:
    """Decode text in UTF-8, UTF-16, UTF-32 or Windows-1252; a few damaged bytes become U+FFFD.

    Args:
        data: The bytes, with or without a byte order mark.
        name: The name of the source, for errors.

    Raises:
        InputError: The bytes are not text, or text in another encoding.
    """
    encoding = detect(data, name)
    text = data.decode(encoding, errors="replace")
    damaged = text.count("\N{REPLACEMENT CHARACTER}")
    if encoding == "utf-8" and damaged > (len(text) - _count_ascii(text)) / 2:
        text = data.decode("cp1252", errors="replace")
        if len(text) > _MIN_LENGTH and _count_ascii(text) < len(text) * 3 / 4:
            raise _make_error(data, name)
    if sum(character in _CONTROLS for character in text) > len(text) / 50:
        raise _make_error(data, name)
    return text


def find_byte_order_mark(data: bytes) -> str | None:
    """Return the encoding of the byte order mark, or None if there is no mark.

    Decoding with this encoding removes the mark.

    Args:
        data: Text, or at least its first four bytes.
    """
    return next((encoding for mark, encoding in _MARKS.items() if data.startswith(mark)), None)


def detect(data: bytes, name: str = "stdin", is_complete: bool = True) -> str:
    """Detect the encoding of text.

    Args:
        data: The text, or its start.
        name: The name of the source, for errors.
        is_complete: False if a character may be cut off at the end.

    Returns:
        A codec name. "utf-8" stands for any 8-bit encoding.

    Raises:
        InputError: The bytes are not text.
    """
    if marked := find_byte_order_mark(data):
        return marked
    if b"\0" not in data:
        return "utf-8"
    # ASCII text in UTF-16 or UTF-32 decodes to ASCII. 8-bit text with some NULs in it decodes to
    # rare letters.
    letters = data.replace(b"\0", b"")
    is_ascii = letters.isascii() and _is_clean(letters.decode("ascii"))
    least_ascii = len(letters) / 2 if is_ascii else 0
    for encoding in _WIDE:
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(data, is_complete)
        except UnicodeDecodeError:
            continue
        if _is_clean(text) and _count_ascii(text) >= least_ascii:
            return encoding
    raise _make_error(data, name)


def _is_clean(text: str) -> bool:
    return all(character.isprintable() or character.isspace() for character in text)


def _count_ascii(text: str) -> int:
    return sum(map(str.isascii, text))


def _make_error(data: bytes, name: str) -> InputError:
    """Return an error that names the kind of data, if it is known."""
    is_riff, kind = data.startswith(b"RIFF"), data[8:12]
    if data.startswith(_PICTURES) or (is_riff and kind == b"WEBP"):
        return InputError(f"{name} is a picture, not text", "mmtui ask --image - < FILE")
    if data.startswith(_SOUNDS) or (is_riff and kind == b"WAVE") or data[4:8] == b"ftyp":
        return InputError(f"{name} is a recording, not text", "mmtui ask --audio FILE")
    return InputError(
        f"{name} is not text, or its encoding is unknown",
        "convert text to UTF-8, as with iconv -f ENCODING -t UTF-8; a picture goes to --image -",
    )
