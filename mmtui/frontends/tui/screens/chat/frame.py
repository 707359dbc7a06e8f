"""What surrounds the transcript: the title, the first screen of a conversation, and key hints."""

from textual.app import ComposeResult
from textual.screen import Screen

from mmtui.chat.session import Session
from mmtui.frontends.tui.screens.chat.talking import Talking
from mmtui.frontends.tui.screens.chat.view import View
from mmtui.frontends.tui.widgets import hint_bar
from mmtui.frontends.tui.widgets.composer import Composer
from mmtui.frontends.tui.widgets.hint_bar import HintBar, Hints
from mmtui.frontends.tui.widgets.level_meter import LevelMeter
from mmtui.frontends.tui.widgets.message_queue import MessageQueue
from mmtui.frontends.tui.widgets.title_bar import TitleBar
from mmtui.frontends.tui.widgets.welcome import Welcome
from mmtui.frontends.tui.window_title import WindowTitle


class Frame:
    """Keeps the widgets around the transcript, and the title of the window, up to date."""

    def __init__(
        self,
        screen: Screen[None],
        session: Session,
        view: View,
        talking: Talking,
        composer: Composer,
        queue: MessageQueue,
        meter: LevelMeter,
    ) -> None:
        """Create the widgets.

        Args:
            screen: The chat screen.
            session: The chat in progress.
            view: Shows the sidebar.
            talking: The talk, if one is going on.
            composer: The prompt, which gets the question of an example.
            queue: The messages that wait.
            meter: Records speech.
        """
        self._screen, self._session, self._composer = screen, session, composer
        self._view, self._talking, self._queue, self._meter = view, talking, queue, meter
        self._title, self._hints, self._window_title = TitleBar(), HintBar(), WindowTitle()
        config = session.config
        self._welcome = Welcome(not config.endpoint, config.sends_recordings, self._use_example)

    def compose_top(self) -> ComposeResult:
        """Yield the widgets above the transcript."""
        yield self._title
        yield self._welcome

    def compose_bottom(self) -> ComposeResult:
        """Yield the widgets below the status bar, and at the left."""
        yield self._hints
        yield self._view.sidebar

    def show(self) -> None:
        """Show the state of the session. This is called for every token of an answer."""
        conversation, status = self._session.conversation, self._session.status
        self._screen.set_class(conversation.head is None, "-empty")
        self._title.show(conversation.title, status.model)
        self._window_title.show(self._screen.app, conversation.title)
        if conversation.head is None:
            self._welcome.show(status)
        self._hints.show(self._choose_hints())
        self._view.follow()

    def _choose_hints(self) -> Hints:
        if self._meter.is_recording:
            return hint_bar.RECORDING
        if self._talking.is_on:
            return hint_bar.TALKING
        if self._composer.text:
            return hint_bar.TYPING
        if self._session.is_answering:
            return hint_bar.WAITING if self._queue.messages else hint_bar.ANSWERING
        return hint_bar.HELD if self._queue.is_held else hint_bar.EMPTY

    def _use_example(self, question: str) -> None:
        self._composer.insert_words(question)
        self._composer.focus()
