"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from collections.abc import Callable, Iterator

MAX_EVENT_BYTES = 48_000_000  # a picture of 32 MB in base64, and what is around it
MAX_STREAM_BYTES = 256_000_000


class TooLargeError(Exception):
    """A response is larger than any that makes sense."""


def _ignore(comment: str) -> None:
    """Handle no comments."""


def read_events(
    read: Callable[[], bytes], handle_comment: Callable[[str], None] = _ignore
) -> Iterator[str]:
    """Yield the data of each event.

    Bytes are decoded line by line, so a character that is split between two parts stays whole. An
    event that is cut off at the end of the stream is dropped.

    Args:
        read: Returns the next part of the stream; b"" at its end.
        handle_comment: Called with each comment, without its colon.

    Raises:
        TooLargeError: An event or the stream is too large.
    """
    buffer, total = bytearray(), 0
    lines: list[str] = []
    while part := read():
        total += len(part)
        buffer += part
        if b"\n" in part:
            *complete, rest = buffer.split(b"\n")
            buffer = bytearray(rest)
            for line in complete:
                text = line.removesuffix(b"\r").decode("utf-8", "replace").removeprefix("\ufeff")
                if text.startswith("data:"):
                    lines.append(text[5:].removeprefix(" "))
                elif text.startswith(":"):
                    handle_comment(text[1:].strip())
                elif not text and lines:
                    yield "\n".join(lines)
                    lines.clear()
        if len(buffer) + sum(map(len, lines)) > MAX_EVENT_BYTES or total > MAX_STREAM_BYTES:
            raise TooLargeError
    if lines:
        yield "\n".join(lines)
