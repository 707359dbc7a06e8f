"""Pictures and sounds in a reply, which servers put in several places.

- `images` beside the content: https://openrouter.ai/docs/features/multimodal/image-generation
- parts of the content, such as {"type": "image_url"} or {"type": "output_image"}
- data URIs in Markdown; see `markdown_pictures`
- `audio`, in pieces of one sound: https://platform.openai.com/docs/guides/audio

Only data is used. A picture that is on the web is not fetched; a link to it becomes part of the
text.
"""

import base64
import binascii
import hashlib
import io
import re
import struct
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

MAX_FILES = 32  # of a reply
MAX_BYTES = 32_000_000  # of all pictures of a reply, and of its sound
_DATA_URI = re.compile(r"data:([^;,]{0,100})((?:;[^;,]{0,100})*),", re.IGNORECASE)
_WEB_ADDRESS = re.compile(r"https?://[^\s<>\"\\^`{|}\x00-\x1f\x7f-\x9f]{1,2000}", re.IGNORECASE)
_IMAGE_TYPES = ("image_url", "output_image", "image", "input_image")


@dataclass(frozen=True)
class ReplyFile:
    """A picture or a sound of a reply. It was not decoded, and may be anything.

    Attributes:
        kind: What the server says it is.
        data: Its bytes.
    """

    kind: Literal["image", "audio"]
    data: bytes


@dataclass(frozen=True)
class LeftOut:
    """A picture or a sound of a reply that can't be used; `message` says why."""

    message: str


Found = ReplyFile | LeftOut | str  # a text is a link to a picture


class MediaReader:
    """Finds the pictures and the sound in the parts of a reply."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()  # hashes: some servers repeat all pictures at the end
        self._links: set[str] = set()  # to pictures on the web, which are repeated, too
        self._size = 0  # of the pictures, in bytes
        self._reported: set[str] = set()  # why pictures are left out
        self._sound: list[str] = []  # in base64
        self._sound_size = 0  # in characters

    def read(self, message: dict[str, Any]) -> list[Found]:
        """Return the pictures of a part of a reply, and keep its sound until `finish`."""
        found = [self.read_uri(uri) for uri in _list_pictures(message)]
        for sound in _list_sounds(message):
            self._sound_size += len(sound)
            if self._sound_size <= MAX_BYTES * 4 // 3:
                self._sound.append(sound)
        return [part for part in found if part is not None]

    def read_uri(self, uri: str) -> Found | None:
        """Return the picture in a data URI, or a link; None if it was there before."""
        if _WEB_ADDRESS.fullmatch(uri):
            if uri in self._links:
                return None
            self._links.add(uri)
            return f"\n\npicture: <{uri}>\n\n"
        header = _DATA_URI.match(uri)
        if header is None or ";base64" not in header[2].lower():
            return self._leave_out("a picture of the answer is left out: its data is not in base64")
        return self._read_base64(uri[header.end() :])

    def finish(self) -> list[ReplyFile | LeftOut]:
        """Return the sound of the reply, if there is any."""
        pieces, self._sound = self._sound, []
        if not pieces:
            return []
        found: list[ReplyFile | LeftOut] = []
        try:
            found.append(ReplyFile("audio", _join_sound(pieces)))
        except binascii.Error:
            return [LeftOut("the sound of the answer is left out: its base64 is damaged")]
        if self._sound_size > MAX_BYTES * 4 // 3:
            limit = MAX_BYTES // 1_000_000
            found.append(LeftOut(f"the sound of the answer is cut off after {limit} MB"))
        return found

    def _read_base64(self, encoded: str) -> ReplyFile | LeftOut | None:
        if len(self._seen) >= MAX_FILES or self._size + len(encoded) * 3 // 4 > MAX_BYTES:
            return self._leave_out(
                f"the answer has more than {MAX_FILES} pictures or {MAX_BYTES // 1_000_000} MB of"
                " them; the rest is left out"
            )
        try:
            data = decode_base64(encoded)
        except binascii.Error:
            return self._leave_out("a picture of the answer is left out: its base64 is damaged")
        digest = hashlib.sha256(data).digest()
        if digest in self._seen:
            return None
        self._seen.add(digest)
        self._size += len(data)
        return ReplyFile("image", data)

    def _leave_out(self, message: str) -> LeftOut | None:
        """Report why a picture is left out, once for all pictures with the same fault."""
        if message in self._reported:
            return None
        self._reported.add(message)
        return LeftOut(message)


def decode_base64(encoded: str) -> bytes:
    """Decode base64, also if it has line breaks or lacks its padding.

    Raises:
        binascii.Error: It has other characters, or is cut off.
    """
    stripped = "".join(encoded.split()).rstrip("=")
    if not stripped.isascii():
        raise binascii.Error("not ASCII")
    return base64.b64decode(stripped + "=" * (-len(stripped) % 4), validate=True)


def get_transcript(message: dict[str, Any]) -> str:
    """Return the transcript of the sound in a part of a reply; "" if there is none."""
    texts = [sound.get("transcript") for sound in _list_sound_fields(message)]
    return "".join(text for text in texts if isinstance(text, str))


def _list_parts(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    content = message.get("content")
    for part in content if isinstance(content, list) else []:
        if isinstance(part, dict):
            yield part


def _list_pictures(message: dict[str, Any]) -> Iterator[str]:
    """Yield the URI of each picture."""
    images = message.get("images")
    entries = [entry for entry in images if entry] if isinstance(images, list) else []
    entries += [part for part in _list_parts(message) if part.get("type") in _IMAGE_TYPES]
    for entry in entries:
        uri = entry
        if isinstance(entry, dict):
            uri = entry.get("image_url") or entry.get("url")
            if isinstance(uri, dict):
                uri = uri.get("url")
            if uri is None and isinstance(entry.get("b64_json"), str):
                uri = f"data:image/png;base64,{entry['b64_json']}"
        yield uri if isinstance(uri, str) else ""


def _list_sound_fields(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for holder in (message, *_list_parts(message)):
        if isinstance(sound := holder.get("audio"), dict):
            yield sound


def _list_sounds(message: dict[str, Any]) -> Iterator[str]:
    for sound in _list_sound_fields(message):
        if isinstance(data := sound.get("data"), str) and data:
            yield data


def _join_sound(pieces: list[str]) -> bytes:
    """Decode the pieces of a sound, and join them.

    Each piece is encoded on its own, or all are parts of one text in base64. If each one is a WAV
    file, so is the result.
    """
    if all(len(piece) % 4 == 0 for piece in pieces):
        decoded = [decode_base64(piece) for piece in pieces]
    else:
        decoded = [decode_base64("".join(pieces))]
    if len(decoded) == 1 or not all(piece.startswith(b"RIFF") for piece in decoded):
        return b"".join(decoded)
    joined = io.BytesIO()
    try:
        with wave.open(joined, "wb") as file:
            for index, piece in enumerate(decoded):
                with wave.open(io.BytesIO(piece)) as part:
                    if index == 0:
                        # The length in the header of a WAV that was streamed is a placeholder.
                        file.setparams(part.getparams()._replace(nframes=0))
                    file.writeframes(part.readframes(part.getnframes()))
    except (wave.Error, EOFError, RuntimeError, struct.error):  # the module checks little
        return b"".join(decoded)
    return joined.getvalue()
