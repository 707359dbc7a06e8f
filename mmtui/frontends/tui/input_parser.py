"""Textual's key parser, without the answers of the terminal that it doesn't know.

It would pass them on as if they were typed.
"""

import sys
import time
from collections.abc import Iterator

from textual import constants
from textual.message import Message

from mmtui.compat.textual_hooks import XTermParser, expire_escape, replace_parser
from mmtui.frontends.tui.responses import is_partial_response, split_responses
from mmtui.frontends.tui.terminal import Terminal

ANSWER_S = 2.0  # how long the rest of an answer may take
DUE_S = 10.0  # how long answers are expected, of a terminal that has not given them yet
DUE_DELAY_S = 0.5  # instead of Textual's ESCAPE_DELAY meanwhile: an answer may come in pieces


class TerminalResponded(Message):
    """The terminal answered what `mmtui.frontends.tui.terminal` had asked, or something else."""

    def __init__(self, answers: str) -> None:
        super().__init__()
        self.answers = answers


class InputParser(XTermParser):
    """Takes answers out before keys are parsed."""

    # Set by `install`, for Textual makes the parser.
    read_before = ""
    due_until = 0.0

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._unfinished, InputParser.read_before = self.read_before, ""
        self._deadline = time.monotonic() + self._patience()

    def feed(self, data: str) -> Iterator[Message]:
        if not data:  # the end of all input
            yield from super().feed(data)
            return
        was_begun = is_partial_response(self._unfinished)
        keys, answers, self._unfinished = split_responses(self._unfinished + data)
        if not (was_begun and self._unfinished):
            self._deadline = time.monotonic() + self._patience()
        if answers:
            yield TerminalResponded(answers)
        if keys:
            yield from super().feed(keys)

    def tick(self) -> Iterator[Message]:
        if self._unfinished and time.monotonic() >= self._deadline:
            yield from self._give_up()
        yield from super().tick()

    def _patience(self) -> float:
        """Seconds to wait for the rest of what is unfinished."""
        if is_partial_response(self._unfinished):
            return ANSWER_S
        return DUE_DELAY_S if time.monotonic() < self.due_until else constants.ESCAPE_DELAY

    def _give_up(self) -> Iterator[Message]:
        """Drop what nobody types; the rest were keys."""
        unfinished, self._unfinished = self._unfinished, ""
        if not is_partial_response(unfinished):
            yield from super().feed(unfinished)
            expire_escape(self)  # it has waited long enough


def install(terminal: Terminal) -> None:
    """Have Textual parse its input with `InputParser`, after what was read from `terminal`."""
    if sys.platform == "win32":  # where nothing is asked
        return
    InputParser.read_before = terminal.unfinished
    InputParser.due_until = 0.0 if terminal.answered else time.monotonic() + DUE_S
    replace_parser(InputParser)
