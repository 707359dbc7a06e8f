"""Printing an answer as it is generated."""

import signal
from collections.abc import Iterator
from typing import Protocol

from mmtui.cli.options import print_note
from mmtui.pipeline.speech.languages import get_name
from mmtui.text import printable


class Answer(Protocol):
    """A stream of the pieces of an answer."""

    def __iter__(self) -> Iterator[str]: ...

    def cancel(self) -> None: ...


def print_answer(answer: Answer, *, silent: bool) -> None:
    """Print an answer as it is generated. Ctrl-C ends it after a token, without losing it.

    Args:
        answer: The stream, which is read to its end.
        silent: Read it without printing.
    """

    def stop(*_: object) -> None:
        answer.cancel()
        signal.signal(signal.SIGINT, previous)  # a second Ctrl-C takes effect at once

    has_printed = False
    previous = signal.signal(signal.SIGINT, stop)
    try:
        for piece in answer:
            if not silent:
                print(printable(piece), end="", flush=True)
                has_printed = True
    finally:
        signal.signal(signal.SIGINT, previous)
        if has_printed:
            print(flush=True)
    if not (silent or has_printed):
        print(flush=True)


def print_transcript(text: str, language: str | None) -> None:
    """Print a transcript as a note, with the name of its language if it is not English."""
    spoken = "" if language in (None, "en") else f" ({get_name(language)})"
    print_note(f"heard{spoken}: {text}")
