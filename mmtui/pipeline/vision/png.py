"""Repair of PNG files before they are decoded: only the chunks of the picture are kept."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_PROFILE_BYTES = 4_000_000  # the largest profiles, of printers, have 3 MB
_GREY, _RGB, _PALETTE = 0, 2, 3  # colour types


@dataclass(frozen=True)
class Png:
    """The chunks of a PNG file that Pillow needs.

    Attributes:
        data: A PNG file of IHDR, PLTE, tRNS, eXIf and one IDAT, with correct checksums.
        profile: The ICC profile.
        is_damaged: Whether the pixels do not match their checksum.
    """

    data: bytes
    profile: bytes | None
    is_damaged: bool


def read(data: bytes) -> Png:
    """Read the chunks of the picture.

    Pillow refuses text of more than 1 MB and ancillary chunks that are too short or do not match
    their checksum. libpng, and thus every browser, skips these, and so does this function. The
    later frames of an animation are skipped, too. Pixels with a wrong checksum are used: most of
    them are right, as in a damaged JPEG, which has no checksums.

    Args:
        data: A file that starts with `SIGNATURE`; its end may be missing.
    """
    first: dict[bytes, bytes] = {}
    pixels: list[memoryview] = []
    is_damaged = False
    for kind, body, matches in _iterate_chunks(data):
        if kind == b"IDAT":
            pixels.append(body)
            is_damaged |= not matches
        elif kind in (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"iCCP"):
            first.setdefault(kind, bytes(body))
    header = first.get(b"IHDR", b"")
    palette = first.get(b"PLTE", b"")
    key = _convert_transparency(header, palette, first.get(b"tRNS", b""))
    parts: list[bytes | memoryview] = [SIGNATURE, *_make_chunk(b"IHDR", header)]
    for kind, content in (
        (b"PLTE", palette[: len(palette) // 3 * 3]),
        (b"tRNS", key),
        (b"eXIf", first.get(b"eXIf", b"")),
    ):
        if content:
            parts += _make_chunk(kind, content)
    parts += [*_make_chunk(b"IDAT", *pixels), *_make_chunk(b"IEND")]
    return Png(b"".join(parts), _decompress_profile(first.get(b"iCCP", b"")), is_damaged)


def _iterate_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, bool]]:
    """Iterate over the chunks of a file; the last one may be cut off.

    Yields:
        The kind of the chunk, its body, and whether its checksum matches or is missing.
    """
    view = memoryview(data)
    at = len(SIGNATURE)
    while at + 8 <= len(data) and (kind := data[at + 4 : at + 8]).isalpha():
        end = at + 8 + int.from_bytes(data[at : at + 4])
        body, checksum = view[at + 8 : end], data[end : end + 4]
        matches = len(checksum) < 4 or zlib.crc32(body, zlib.crc32(kind)) == int.from_bytes(
            checksum
        )
        yield kind, body, matches
        at = end + 4


def _make_chunk(kind: bytes, *bodies: bytes | memoryview) -> list[bytes | memoryview]:
    """Return the parts of a chunk: its length, its kind, its body and its checksum."""
    checksum = zlib.crc32(kind)
    for body in bodies:
        checksum = zlib.crc32(body, checksum)
    length = sum(len(body) for body in bodies)
    return [length.to_bytes(4), kind, *bodies, checksum.to_bytes(4)]


def _convert_transparency(header: bytes, palette: bytes, content: bytes) -> bytes:
    """Scale the transparent colour as Pillow scales the samples of the picture: to 8 bits.

    Pillow does not scale this colour itself. It keeps the scale of grey of 1 bit and of 16 bits.

    Args:
        header: The content of the IHDR chunk.
        palette: The content of the PLTE chunk.
        content: The content of the tRNS chunk.

    Returns:
        The content of the new tRNS chunk; empty if the old one does not fit the picture.
    """
    if len(header) < 13:
        return b""
    depth, colour_type = header[8], header[9]
    if colour_type == _PALETTE:
        return content[: len(palette) // 3]
    samples = {_GREY: 1, _RGB: 3}.get(colour_type, 0)
    if not samples or len(content) < 2 * samples:
        return b""
    key = [int.from_bytes(content[2 * n : 2 * n + 2]) for n in range(samples)]
    if colour_type == _RGB and depth == 16:
        key = [sample >> 8 for sample in key]
    elif colour_type == _GREY and depth in (2, 4):
        key = [sample * 255 // (2**depth - 1) & 255 for sample in key]
    return b"".join(sample.to_bytes(2) for sample in key)


def _decompress_profile(content: bytes) -> bytes | None:
    """Return the ICC profile of an iCCP chunk: a name, NUL, the method 0, the compressed profile.

    None if it is damaged or too large.
    """
    _, _, compressed = content.partition(b"\0")
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(compressed[1:], _MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile if unpacker.eof else None
