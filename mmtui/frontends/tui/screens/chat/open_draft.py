"""Which draft is in the prompt, so that work for an earlier one is dropped."""

from collections.abc import Callable
from typing import TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")


class OpenDraft:
    """The draft in the prompt, which is replaced when another conversation is opened.

    Files are read and recordings are transcribed in the background. The user can open another
    conversation meanwhile, whose draft must not get what was meant for the one before.
    """

    def __init__(self) -> None:
        self._number = 0

    def replace(self) -> None:
        """Note that another draft is loaded."""
        self._number += 1

    def make_check(self) -> Callable[[], bool]:
        """Return a function that returns whether the present draft is still in the prompt."""
        number = self._number
        return lambda: number == self._number

    def bind(self, callback: Callable[[Argument], Result]) -> Callable[[Argument], Result | None]:
        """Return a callback that does nothing once another draft is in the prompt."""
        is_open = self.make_check()
        return lambda argument: callback(argument) if is_open() else None
