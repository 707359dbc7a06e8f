"""A screen on which things may fail: the user is told, and nothing typed is lost."""

from collections.abc import Callable
from inspect import isawaitable
from typing import Any

from textual import on, work
from textual.notifications import SeverityLevel
from textual.screen import Screen

from mmtui.chat.notice import Notice
from mmtui.errors import MmtuiError
from mmtui.frontends.tui.posted import Found, Told

NOTE_S, ERROR_S = 4.0, 8.0  # how long a notice is shown


class AttemptsScreen(Screen[None]):
    def give_back(self, typed: str) -> None:
        """Put a text into the prompt again."""
        raise NotImplementedError

    def show_status(self) -> None:
        """Show what has become of the session."""
        raise NotImplementedError

    def tell(self, notice: Notice) -> None:
        severity: SeverityLevel = "error" if notice.is_error else "information"
        seconds = ERROR_S if notice.is_error else NOTE_S
        self.notify(notice.lines, severity=severity, markup=False, timeout=seconds)
        self.show_status()

    async def attempt(self, act: Callable[..., Any], *arguments: Any, typed: str = "") -> Any:
        """What an act returns; None if it can't be done.

        Then the user is told, and what was `typed` for it is back in the prompt.
        """
        try:
            done = act(*arguments)
            return await done if isawaitable(done) else done
        except MmtuiError as error:
            self._told(Told(Notice(str(error), error.hint), typed))
            return None
        finally:
            self.show_status()

    @work(thread=True)
    def find(self, look: Callable[[], Any], then: Callable[[Any], Any], typed: str = "") -> None:
        """Look for something, which may take a while. `typed` is given back if it is not there."""
        try:
            self.post_message(Found(then, look(), typed))
        except MmtuiError as error:
            self.post_message(Told(Notice(str(error), error.hint), typed))

    @on(Found)
    async def _go_on(self, posted: Found) -> None:
        await self.attempt(posted.then, posted.found, typed=posted.typed)

    @on(Told)
    def _told(self, posted: Told) -> None:
        self.tell(posted.notice)
        if posted.typed:
            self.give_back(posted.typed)
