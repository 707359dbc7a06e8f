"""Notes on stderr, and Ctrl+C."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mmtui.chat.notice import Notice
from mmtui.text import one_line


def print_notice(notice: Notice) -> None:
    """Print a notice as commands do, with "error:" and "hint:"."""
    print(notice.labelled, file=sys.stderr, flush=True)


def print_note(text: str) -> None:
    """Print a text, without characters that would control the terminal."""
    print("\n".join(one_line(line) for line in text.split("\n")), file=sys.stderr, flush=True)


@contextmanager
def catch_interrupts() -> Iterator[Callable[[], bool]]:
    """Record Ctrl+C instead of raising KeyboardInterrupt, which could leave work half done.

    Yields:
        Returns whether Ctrl+C has been pressed.
    """
    pressed = threading.Event()
    previous = signal.signal(signal.SIGINT, lambda *_: pressed.set())
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
