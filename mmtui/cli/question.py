"""The question of `mmtui ask`, from the command line or stdin, and its files."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mmtui import paths
from mmtui.encodings import decode
from mmtui.errors import UsageError

MAX_QUESTION_BYTES = 10_000_000  # longest question that is read from stdin


@dataclass(frozen=True)
class Question:
    """A question and its files.

    Attributes:
        text: The text; it may be empty if there is a recording.
        pictures: The paths of the pictures; "-" is stdin.
        recording: The path of the recording.
        documents: The paths of the documents; "-" is stdin.
        mentioned: Those of the files that were found in the text, not in options.
    """

    text: str
    pictures: tuple[str, ...]
    recording: Path | None
    documents: tuple[str, ...] = ()
    mentioned: tuple[Path, ...] = ()


def read_question(
    typed: str | None,
    pictures: list[str],
    recording: Path | None,
    documents: Sequence[str] = (),
) -> Question:
    """Return the question from the command line, or from stdin if there is none.

    Files that the text on the command line names are attached, as in "what is in ~/a b.jpg?". Text
    from stdin attaches no files, because the user may not have read it.

    Args:
        typed: The question on the command line. None or "-" reads stdin; with a recording or a
            file "-", None is no question.
        pictures: The pictures of --image.
        recording: The recording of --audio.
        documents: The documents of --file.

    Raises:
        UsageError: There is no question, more than one recording, or "-" where stdin is not read.
        InputError: The data on stdin is not text.
    """
    mentioned: list[Path] = []
    if typed in (None, "-"):
        is_free = recording is None and "-" not in (*pictures, *documents)
        if typed == "-" and not is_free:
            raise UsageError(
                "the question can't be read from stdin with --file -, --audio or --image -",
                "type it instead of the -, or leave it out",
            )
        typed = _read_pipe() if is_free else ""
    else:
        paths.refuse_web_address(typed)
        named = (*pictures, *documents)
        attached = {paths.resolve(name) for name in named if name != "-"} | {recording}
        files = paths.find_dropped(typed)
        typed = "" if files else typed
        mentioned = [file for file in files or paths.find_mentioned(typed) if file not in attached]
    for file in mentioned:
        suffix = file.suffix.lower()
        if suffix in paths.PICTURE_SUFFIXES:
            pictures = [*pictures, str(file)]
        elif suffix not in paths.RECORDING_SUFFIXES:
            documents = [*documents, str(file)]
        elif recording is None:
            recording = file
        else:
            raise UsageError(f"{file}: only one recording can be attached", "ask about one of them")
    if not typed.strip() and recording is None:
        typed = _get_default_question(len(pictures), len(documents))
    return Question(
        typed.strip() and typed, tuple(pictures), recording, tuple(documents), tuple(mentioned)
    )


def open_pipe() -> BinaryIO | None:
    """Return stdin; None if it is a terminal."""
    return None if sys.stdin.isatty() else sys.stdin.buffer


def _read_pipe() -> str:
    if (stream := open_pipe()) is None:
        return ""
    data = stream.read(MAX_QUESTION_BYTES + 1)
    if len(data) > MAX_QUESTION_BYTES:
        raise UsageError("the question on stdin is longer than 10 MB")
    return decode(data)


def _get_default_question(pictures: int, documents: int) -> str:
    if documents:
        return "Summarize this document." if documents == 1 else "Summarize these documents."
    if pictures:
        return "Describe this picture." if pictures == 1 else "Describe these pictures."
    raise UsageError("there is no question", 'type or pipe it: mmtui ask "Why is the sky blue?"')
