"""Pictures and recordings that were encoded, so that this is done once for each of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.picture_texts import PictureTexts
from mmtui.pipeline.prompt import Medium, Turn, find_media
from mmtui.pipeline.reading.notation import write_picture
from mmtui.pipeline.vision.encoder import EncodedPicture
from mmtui.pipeline.vision.images import Picture

Features = dict[str, np.ndarray]  # of pictures and recordings, by their SHA-256
Encode = Callable[[Medium], EncodedPicture]

MAX_PICTURES = 256  # that are kept; with smol, the features of each take 0.2 MB
MAX_FEATURE_BYTES = 512_000_000  # with LLaVA 1.5 7B, those of each take 9 MB


class PictureCache:
    """The features and names of the pictures that were used last."""

    def __init__(
        self, report: Report, texts: PictureTexts | None = None, *, can_see: bool = True
    ) -> None:
        """Start empty.

        Args:
            report: Called as pictures are encoded.
            texts: Reads the text in pictures; None if the model does not get it.
            can_see: Whether the model can see; otherwise it gets nothing but the text.
        """
        self._report, self._texts, self._can_see = report, texts, can_see
        self._encoded: dict[str, EncodedPicture] = {}  # by SHA-256

    def __contains__(self, sha256: str) -> bool:
        if self._texts is not None and not self._can_see:
            return sha256 in self._texts
        return sha256 in self._encoded and (self._texts is None or sha256 in self._texts)

    @property
    def layouts(self) -> dict[str, tuple[int | None, ...]]:
        """The layout of each picture by its SHA-256, as `EncodedPicture.layout` describes it."""
        return {sha256: picture.layout for sha256, picture in self._encoded.items()}

    def encode_turns(
        self,
        turns: Sequence[Turn],
        encode: Encode,
        count_tokens: Callable[[str], int],
    ) -> tuple[list[Turn], Features]:
        """Encode the pictures and recordings of a conversation, and read the pictures.

        Args:
            turns: The conversation.
            encode: Encodes a picture or a recording.
            count_tokens: Returns the number of tokens of a text.

        Returns:
            The turns with the names that a classifier gave to their pictures and the text in them,
            and the features of the pictures by their SHA-256. For a model that can't see, the
            pictures are replaced by text.
        """
        turns = list(turns)
        encoded = self.encode(find_media(turns), encode)
        if self._texts is not None:  # in another thread, they were read meanwhile
            turns = self._texts.add_texts(turns)
        if not self._can_see:
            turns = [_replace_pictures(turn, count_tokens) for turn in turns]
        named = [_add_names(turn, encoded) for turn in turns]
        return named, {sha256: picture.features for sha256, picture in encoded.items()}

    def encode(self, media: Sequence[Medium], encode: Encode) -> dict[str, EncodedPicture]:
        """Encode what is not cached; return everything by its SHA-256.

        Args:
            media: Pictures and recordings, of which some may be cached.
            encode: Encodes one of them.

        Returns:
            The encoded media, without the pictures if the model can't see.
        """
        if not self._can_see:
            media = [medium for medium in media if not isinstance(medium, Picture)]
        new = {medium.sha256: medium for medium in media if medium.sha256 not in self._encoded}
        for done, (sha256, medium) in enumerate(new.items()):
            step = "seeing" if isinstance(medium, Picture) else "listening"
            self._report(step, done, len(new))
            self._encoded[sha256] = encode(medium)
            self._report(step, done + 1, len(new))
        encoded = {medium.sha256: self._encoded[medium.sha256] for medium in media}
        size = sum(picture.features.nbytes for picture in self._encoded.values())
        for sha256 in list(self._encoded):
            if len(self._encoded) <= MAX_PICTURES and size <= MAX_FEATURE_BYTES:
                break
            if sha256 not in encoded:
                size -= self._encoded.pop(sha256).features.nbytes
        return encoded


def _add_names(turn: Turn, encoded: dict[str, EncodedPicture]) -> Turn:
    content = (
        replace(part, names=encoded[part.sha256].names) if isinstance(part, Picture) else part
        for part in turn.content
    )
    return replace(turn, content=tuple(content))


def _replace_pictures(turn: Turn, count_tokens: Callable[[str], int]) -> Turn:
    content = (
        write_picture(part.text or "", count_tokens) if isinstance(part, Picture) else part
        for part in turn.content
    )
    return replace(turn, content=tuple(content))
