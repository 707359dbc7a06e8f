"""Textual's key parser, extended to recognize responses of the terminal.

Textual would handle responses that it does not know as keys.
"""

import sys
import time
from collections.abc import Iterator

from textual import constants
from textual.message import Message

from mmtui.compat.textual_hooks import XTermParser, expire_escape, replace_parser
from mmtui.frontends.tui.responses import is_partial_response, split_responses
from mmtui.frontends.tui.terminal import Terminal

PARTIAL_TIMEOUT_S = 2.0  # for the rest of a response
EXPECTED_S = 10.0  # how long responses are expected from a terminal that has not responded yet
EXPECTED_TIMEOUT_S = 0.5  # instead of Textual's ESCAPE_DELAY while responses are expected


class TerminalResponded(Message):
    """The terminal responded to a query, for example of `mmtui.frontends.tui.terminal`."""

    def __init__(self, responses: str) -> None:
        super().__init__()
        self.responses = responses


class InputParser(XTermParser):
    """Removes responses from the input before keys are parsed.

    Attributes:
        initial_input: The input that was read before the parser existed.
        expected_until: The time until which responses are expected.
    """

    # Class attributes, which `install` sets, because Textual creates the parser.
    initial_input = ""
    expected_until = 0.0

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._unfinished, InputParser.initial_input = self.initial_input, ""
        self._deadline = time.monotonic() + self._get_timeout()

    def feed(self, data: str) -> Iterator[Message]:
        if not data:  # the end of the input
            yield from super().feed(data)
            return
        was_partial = is_partial_response(self._unfinished)
        keys, responses, self._unfinished = split_responses(self._unfinished + data)
        if not (was_partial and self._unfinished):
            self._deadline = time.monotonic() + self._get_timeout()
        if responses:
            yield TerminalResponded(responses)
        if keys:
            yield from super().feed(keys)

    def tick(self) -> Iterator[Message]:
        if self._unfinished and time.monotonic() >= self._deadline:
            yield from self._flush_unfinished()
        yield from super().tick()

    def _get_timeout(self) -> float:
        """Return how many seconds to wait for the rest of an unfinished sequence."""
        if is_partial_response(self._unfinished):
            return PARTIAL_TIMEOUT_S
        return (
            EXPECTED_TIMEOUT_S if time.monotonic() < self.expected_until else constants.ESCAPE_DELAY
        )

    def _flush_unfinished(self) -> Iterator[Message]:
        """Discard the start of a response; parse anything else as keys."""
        unfinished, self._unfinished = self._unfinished, ""
        if not is_partial_response(unfinished):
            yield from super().feed(unfinished)
            expire_escape(self)  # its own timeout would start now


def install(terminal: Terminal) -> None:
    """Replace Textual's parser by `InputParser`, which continues the input of `terminal`."""
    if sys.platform == "win32":  # where terminals are not queried
        return
    InputParser.initial_input = terminal.unfinished
    InputParser.expected_until = 0.0 if terminal.has_responded else time.monotonic() + EXPECTED_S
    replace_parser(InputParser)
