"""Token ids to text, piece by piece as they are generated."""

from collections.abc import Callable, Sequence


class Detokenizer:
    """Decodes a stream of tokens, and returns each piece of text once it can't change anymore.

    Characters are never split. White space at either end of the answer is removed, and text that
    may be the start of a stop string is buffered until the next tokens decide.

    Attributes:
        is_stopped: Whether a stop string has been generated.
    """

    def __init__(self, decode: Callable[[int], str], stops: Sequence[str]) -> None:
        """Start an answer.

        Args:
            decode: Returns the text of one token after the other, from `Language.make_decoder`.
            stops: Strings that end the answer, which are not part of it.
        """
        self._decode, self._stops = decode, stops
        self._buffer = ""
        self._has_text = False
        self.is_stopped = False

    def push(self, token: int) -> str:
        """Add a token; return the text that is certain now, which may be empty."""
        self._buffer += self._decode(token)
        for stop in self._stops:
            before, found, _ = self._buffer.partition(stop)
            if found:
                self._buffer, self.is_stopped = before, True
                return self.flush()
        kept = self._count_stop_prefix() if self._stops else 0
        return self._take(len(self._buffer) - kept)

    def flush(self) -> str:
        """Return the rest of the buffer, at the end of the answer."""
        return self._take(len(self._buffer))

    def _take(self, end: int) -> str:
        """Remove and return the buffer up to `end`, without white space at the answer's ends."""
        text = self._buffer[:end].rstrip()
        self._buffer = self._buffer[len(text) :] if text else self._buffer
        if not self._has_text:
            text = text.lstrip()
            self._has_text = bool(text)
        return text

    def _count_stop_prefix(self) -> int:
        """Return how many characters at the end of the buffer may start a stop string."""
        return max(
            (
                length
                for stop in self._stops
                for length in range(1, len(stop))
                if self._buffer.endswith(stop[:length])
            ),
            default=0,
        )
