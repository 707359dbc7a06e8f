"""Texts that end a reply."""


class StopTexts:
    """Passes a reply on until one of several texts occurs in it, which is left out.

    Attributes:
        has_stopped: Whether one of the texts has occurred.
    """

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._texts = texts
        self._pending = ""  # may be the beginning of one of the texts
        self.has_stopped = False

    def push(self, piece: str) -> str:
        """Add a piece of the reply, and return what can be sent."""
        if self.has_stopped:
            return ""
        text = self._pending + piece
        found = [at for stop in self._texts if (at := text.find(stop)) >= 0]
        if found:
            self.has_stopped, self._pending = True, ""
            return text[: min(found)]
        kept = max((_count_overlap(text, stop) for stop in self._texts), default=0)
        self._pending = text[len(text) - kept :]
        return text[: len(text) - kept]

    def flush(self) -> str:
        """Return what was held back, at the end of the reply."""
        pending, self._pending = self._pending, ""
        return pending


def _count_overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` with which `stop` begins."""
    lengths = range(min(len(text), len(stop) - 1), 0, -1)
    return next((length for length in lengths if text.endswith(stop[:length])), 0)
