"""What surrounds the transcript: the title, the first screen of a conversation, and key hints."""

from textual.app import ComposeResult
from textual.screen import Screen

from mmtui.chat.session import Session
from mmtui.frontends.tui.widgets import hint_bar
from mmtui.frontends.tui.widgets.hint_bar import HintBar, Hints
from mmtui.frontends.tui.widgets.title_bar import TitleBar
from mmtui.frontends.tui.widgets.welcome import Welcome


class Frame:
    """Keeps the widgets around the transcript up to date.

    Attributes:
        hints: The line with keys.
    """

    def __init__(self, screen: Screen[None], session: Session) -> None:
        self._screen, self._session = screen, session
        self._title, self.hints = TitleBar(), HintBar()
        config = session.config
        self._welcome = Welcome(not config.endpoint, config.sends_recordings)

    def compose_top(self) -> ComposeResult:
        """Yield the widgets above the transcript."""
        yield self._title
        yield self._welcome

    def show(self, *, is_typing: bool, is_recording: bool) -> None:
        """Show the state of the session. This is called for every token of an answer."""
        conversation, status = self._session.conversation, self._session.status
        self._screen.set_class(conversation.head is None, "-empty")
        self._title.show(conversation.title, status.model)
        if conversation.head is None:
            self._welcome.show(status)
        self.hints.show(self._choose_hints(is_typing=is_typing, is_recording=is_recording))

    def _choose_hints(self, *, is_typing: bool, is_recording: bool) -> Hints:
        if is_recording:
            return hint_bar.RECORDING
        if is_typing:
            return hint_bar.TYPING
        return hint_bar.ANSWERING if self._session.is_answering else hint_bar.EMPTY
