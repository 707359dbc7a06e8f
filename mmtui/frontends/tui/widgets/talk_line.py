"""A line with the state of a talk and the level of the voices."""

from collections.abc import Callable

from textual.content import Content
from textual.widgets import Static

from mmtui.audio.recorder import Microphone
from mmtui.chat.notice import Notice
from mmtui.chat.talk import Chat, Talk, TalkState
from mmtui.errors import MmtuiError
from mmtui.frontends.tui.messages import NoticePosted

WIDTH = 24
UPDATES_PER_S = 20
COLORS: dict[TalkState, str] = {
    "starting": "$text-muted",
    "listening": "$success",
    "hearing": "$error",
    "thinking": "$warning",
    "speaking": "$accent",
}
HINTS: dict[TalkState, str] = {
    "starting": "Esc ends the talk",
    "listening": "speak; Esc ends the talk",
    "hearing": "a pause ends what you say",
    "thinking": "Esc stops the answer",
    "speaking": "Esc stops the answer",
}


class TalkLine(Static):
    """A line that is shown during a talk, and moves it on.

    Attributes:
        state: The state of the talk; None without one.
    """

    DEFAULT_CSS = "TalkLine { display: none; height: 1; } TalkLine.-on { display: block; }"

    def __init__(self, microphone: Microphone, on_change: Callable[[], None]) -> None:
        """Create the line, which is hidden.

        Args:
            microphone: Listens.
            on_change: Called when the state of a talk has changed.
        """
        super().__init__("", id="talk", markup=False)
        self._microphone, self._on_change = microphone, on_change
        self._talk: Talk | None = None
        self.state: TalkState | None = None

    def on_mount(self) -> None:
        self._timer = self.set_interval(1 / UPDATES_PER_S, self._update_talk, pause=True)

    def on_unmount(self) -> None:
        if self._talk is not None:
            self._talk.stop()

    @property
    def is_on(self) -> bool:
        """Whether a talk is going on."""
        return self._talk is not None

    def start(self, chat: Chat, device: str | None, *, can_interrupt: bool) -> None:
        """Start a talk.

        Args:
            chat: Answers what is said.
            device: The name of a microphone; None selects the default one.
            can_interrupt: Whether speaking over an answer stops it.
        """
        self._talk = Talk(self._microphone.listen(device), chat, can_interrupt=can_interrupt)
        self._update_talk()
        self._timer.resume()
        self.set_class(True, "-on")

    def stop(self) -> None:
        """End the talk."""
        if self._talk is not None:
            self._talk.stop()
            self._talk = None
            self._timer.pause()
            self.set_class(False, "-on")
            self._set_state(None)

    def _update_talk(self) -> None:
        if (talk := self._talk) is None:
            return
        try:
            talk.update()
        except MmtuiError as error:
            self.post_message(NoticePosted(Notice(str(error), error.hint)))
            return
        state = talk.state
        self._set_state(state)
        bar = round(WIDTH * min(talk.level, 1.0) ** 0.5)
        self.update(
            Content.assemble(
                (f"● {state:9}  ", COLORS[state]),
                ("█" * bar, COLORS[state]),
                "·" * (WIDTH - bar),
                f"  {HINTS[state]}",
            )
        )

    def _set_state(self, state: TalkState | None) -> None:
        if state != self.state:
            self.state = state
            self._on_change()
