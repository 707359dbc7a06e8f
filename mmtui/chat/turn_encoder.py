"""The turns of a chat as a server gets them, with their files."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.chat.protocol import ChatTurn
from mmtui.endpoint.messages import EndpointTurn
from mmtui.endpoint.picture_texts import EndpointTexts
from mmtui.endpoint.pictures import DataUriCache
from mmtui.pipeline.input_files import encode_wav, read_picture

if TYPE_CHECKING:
    from PIL import Image


class TurnEncoder:
    """Encodes turns; pictures are encoded and read once. Any thread may call its methods.

    Attributes:
        reads_text: Whether the model gets the text in pictures, which is recognized here.
    """

    def __init__(self, *, reads_text: bool) -> None:
        """Create an encoder. `reads_text` is the attribute."""
        self.reads_text = reads_text
        self._texts = EndpointTexts()
        self._pictures = DataUriCache()

    def encode(self, turn: ChatTurn, *, can_see: bool) -> EndpointTurn:
        """Return a turn as the server gets it; without pictures if the model can't see."""
        pictures = tuple(map(self._encode_picture, turn.pictures)) if can_see else ()
        recordings = tuple(_load_recording(Path(path)) for path in turn.recordings)
        texts = self._read_pictures(turn.pictures, can_see=can_see)
        return EndpointTurn(turn.role, turn.text, pictures, recordings, texts)

    def prepare(self, picture: str) -> None:
        """Encode and read the picture at a path, before a turn with it is encoded."""
        self._encode_picture(picture)
        self._read_pictures([picture], can_see=True)

    def _encode_picture(self, path: str) -> str:
        return self._pictures.get(path, partial(_load_picture, Path(path)))

    def _read_pictures(self, paths: Sequence[str], *, can_see: bool) -> tuple[str, ...]:
        """Return what is said about the text in pictures; nothing if the model does not get it."""
        if not self.reads_text:
            return ()
        files = {Path(path).name: Path(path) for path in paths}  # named by their SHA-256
        keys = [Path(path).name for path in paths]
        return self._texts.describe(keys, lambda key: read_picture(files[key]), can_see=can_see)


def _load_picture(path: Path) -> "Image.Image":
    return read_picture(path).image


def _load_recording(path: Path) -> bytes:
    from mmtui.pipeline.input_files import read_clip

    return encode_wav(read_clip(path))
