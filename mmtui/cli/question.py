"""The question of `mmtui ask`: typed or piped, with the files that go with it."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mmtui import paths
from mmtui.encodings import decode
from mmtui.errors import UsageError

MAX_BYTES = 10_000_000  # of a question on stdin


@dataclass(frozen=True)
class Question:
    """What is asked, with which files.

    "-" among `pictures` is stdin. `mentioned` are the files that are there for being in the text.
    """

    text: str
    pictures: tuple[str, ...]
    recording: Path | None
    mentioned: tuple[Path, ...] = ()


def read_question(typed: str | None, pictures: list[str], recording: Path | None) -> Question:
    """Read the question from the command line, or else from stdin.

    Files that a typed question names go with it, as in "what is in ~/a b.jpg?". What is piped in
    never attaches a file: nobody may have read it.

    Raises:
        UsageError: There is no question, or it needs more than can be asked at once.
        InputError: What is piped in is no text.
    """
    mentioned: list[Path] = []
    if typed in (None, "-"):
        is_free = recording is None and "-" not in pictures
        typed = _read_pipe() if is_free else ""
    else:
        paths.refuse_web_address(typed)
        given = {paths.resolve(name) for name in pictures if name != "-"} | {recording}
        files = paths.find_dropped(typed)
        typed = "" if files else typed
        mentioned = [file for file in files or paths.find_mentioned(typed) if file not in given]
    for file in mentioned:
        if file.suffix.lower() in paths.PICTURE_SUFFIXES:
            pictures = [*pictures, str(file)]
        elif recording is None:
            recording = file
        else:
            raise UsageError(f"{file}: one recording can be heard at once", "ask about one of them")
    if not typed.strip() and recording is None:
        typed = _default(len(pictures))
    return Question(typed.strip() and typed, tuple(pictures), recording, tuple(mentioned))


def piped() -> BinaryIO | None:
    """What is piped in; None at a keyboard."""
    return None if sys.stdin.isatty() else sys.stdin.buffer


def _read_pipe() -> str:
    if (stream := piped()) is None:
        return ""
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UsageError("the question on stdin is longer than 10 MB")
    return decode(data)


def _default(pictures: int) -> str:
    if pictures:
        return "Describe this picture." if pictures == 1 else "Describe these pictures."
    raise UsageError("there is no question", 'type or pipe it: mmtui ask "Why is the sky blue?"')
