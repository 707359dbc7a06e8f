"""The base of a screen whose actions may fail: errors are shown, typed text is kept."""

from collections.abc import Callable
from inspect import isawaitable
from typing import Any

from textual import on
from textual.notifications import SeverityLevel
from textual.worker import Worker

from mmtui.chat.notice import Notice
from mmtui.compat.textual_hooks import SingleLayoutScreen
from mmtui.errors import MmtuiError
from mmtui.frontends.tui.messages import CallFinished, NoticePosted

NOTE_TIMEOUT_S, ERROR_TIMEOUT_S = 4.0, 8.0


class BaseScreen(SingleLayoutScreen[None]):
    """Calls functions and shows their errors as notifications."""

    def restore_text(self, text: str) -> None:
        """Put a text that could not be acted on back into the prompt."""
        raise NotImplementedError

    def show_status(self) -> None:
        """Update the status bar from the session."""
        raise NotImplementedError

    def show_notice(self, notice: Notice) -> None:
        """Show a notice as a notification."""
        severity: SeverityLevel = "error" if notice.is_error else "information"
        timeout = ERROR_TIMEOUT_S if notice.is_error else NOTE_TIMEOUT_S
        self.notify(notice.lines, severity=severity, markup=False, timeout=timeout)
        self.show_status()

    async def attempt(self, function: Callable[..., Any], *args: Any, typed: str = "") -> Any:
        """Call a function, which may be async, and show its error if it raises MmtuiError.

        Args:
            function: What to call.
            args: Its arguments.
            typed: Text to put back into the prompt if the call fails.

        Returns:
            What the function returned; None if it failed.
        """
        try:
            result = function(*args)
            return await result if isawaitable(result) else result
        except MmtuiError as error:
            self._show_failure(NoticePosted(Notice(str(error), error.hint), typed))
            return None
        finally:
            self.show_status()

    def run_in_thread(
        self,
        function: Callable[[], Any],
        then: Callable[[Any], Any],
        typed: str = "",
        group: str = "default",
        description: str = "",
    ) -> Worker[None]:
        """Call a slow function in a thread, then `attempt` a callback with its result.

        Args:
            function: What to call in the thread; its MmtuiError is shown.
            then: Called with the result on the event loop; may be async.
            typed: Text to put back into the prompt if either fails.
            group: The worker's group.
            description: What the function does, such as "reading a.png", for `activity`.
        """

        def run() -> None:
            try:
                self.post_message(CallFinished(then, function(), typed))
            except MmtuiError as error:
                self.post_message(NoticePosted(Notice(str(error), error.hint), typed))

        # Textual would show the function in place of an empty description.
        return self.run_worker(
            run, name="run_in_thread", group=group, description=description or " ", thread=True
        )

    @property
    def activity(self) -> str:
        """What a call that runs in a thread does; "" if no call has a description."""
        calls = [w for w in self.workers if w.name == "run_in_thread" and not w.is_finished]
        return next((call.description for call in calls if call.description.strip()), "")

    @on(Worker.StateChanged)
    def _show_activity(self) -> None:
        self.show_status()

    @on(CallFinished)
    async def _continue_call(self, event: CallFinished) -> None:
        await self.attempt(event.then, event.result, typed=event.typed)

    @on(NoticePosted)
    def _show_failure(self, event: NoticePosted) -> None:
        self.show_notice(event.notice)
        if event.typed:
            self.restore_text(event.typed)
