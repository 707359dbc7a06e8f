"""The text of the pictures of a conversation: read in a thread, each picture once."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property

from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.prompt import Medium, Turn, find_pictures
from mmtui.pipeline.reading.reader import TextReader
from mmtui.pipeline.vision.images import Picture

MAX_PICTURES = 256  # whose text is kept
_STEP = "reading the text in pictures"


class PictureTexts:
    """Reads pictures in a thread, while the model is loaded."""

    def __init__(self, report: Report = ignore_progress) -> None:
        """Start empty; the reader is loaded with the first picture.

        Args:
            report: Called while pictures are read that a prompt needs.
        """
        self._report = report
        self._texts: dict[str, Future[str]] = {}  # by SHA-256

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._texts

    def start(self, pictures: Sequence[Picture]) -> None:
        """Start reading the pictures that have not been read, and return at once."""
        for picture in pictures:
            text = self._texts.pop(picture.sha256, None)
            if text is None:
                text = self._thread.submit(self._read, picture)
            self._texts[picture.sha256] = text  # as the newest
        while len(self._texts) > max(MAX_PICTURES, len(pictures)):
            del self._texts[next(iter(self._texts))]

    def get_text(self, sha256: str) -> str:
        """Return the lines of text in a picture that was passed to `start`, once it is read."""
        return self._texts[sha256].result()

    def add_texts(self, turns: Sequence[Turn]) -> list[Turn]:
        """Return the turns with the text of their pictures, once these have been read."""
        pictures = find_pictures(turns)
        self.start(pictures)
        missing = [self._texts[picture.sha256] for picture in pictures]
        missing = [text for text in missing if not text.done()]
        for done, text in enumerate(missing):
            self._report(_STEP, done, len(missing))
            text.result()
        if missing:
            self._report(_STEP, len(missing), len(missing))
        return [replace(turn, content=tuple(self._add_text(turn))) for turn in turns]

    def _add_text(self, turn: Turn) -> Iterator[str | Medium]:
        for part in turn.content:
            if isinstance(part, Picture):
                yield replace(part, text=self.get_text(part.sha256))
            else:
                yield part

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="mmtui-reader")

    @cached_property
    def _reader(self) -> TextReader:
        return TextReader()

    def _read(self, picture: Picture) -> str:
        return self._reader.read_for_prompt(picture.image)
