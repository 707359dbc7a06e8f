"""A talk on the chat screen: what is said is sent, and the answers are read aloud."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from mmtui.audio.recorder import Microphone
from mmtui.chat.conversation import Attachment
from mmtui.chat.session import Session
from mmtui.errors import MmtuiError
from mmtui.frontends.tui.screens.chat.speech import Speech
from mmtui.frontends.tui.widgets.player import Player
from mmtui.frontends.tui.widgets.talk_line import TalkLine

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip


class Screen(Protocol):
    """What a talk uses of the chat screen."""

    def stop_audio(self) -> None: ...
    def stop_answer(self) -> None: ...
    def show_status(self) -> None: ...
    def run_in_thread(
        self, function: Callable[[], Any], then: Callable[[Any], Any], typed: str, group: str
    ) -> object: ...


class Talking:
    """Starts and ends talks, and does what they ask for; see `mmtui.chat.talk.Chat`.

    Attributes:
        line: Shows the state of a talk.
    """

    def __init__(
        self,
        screen: Screen,
        session: Session,
        microphone: Microphone,
        player: Player,
        speech: Speech,
        send: Callable[[str, tuple[Attachment, ...]], Awaitable[None]],
    ) -> None:
        """Create it.

        Args:
            screen: The chat screen.
            session: The chat in progress.
            microphone: Listens.
            player: Reads the answers aloud.
            speech: Transcribes what is said.
            send: Sends a text with attachments.
        """
        self._screen, self._session, self._player = screen, session, player
        self._speech, self._send = speech, send
        self.line = TalkLine(microphone, screen.show_status)
        self._is_sending = False

    @property
    def is_on(self) -> bool:
        """Whether a talk is going on."""
        return self.line.is_on

    @property
    def state(self) -> str:
        """What the status bar shows of a talk; "" if there is none, or if the model is busy."""
        return "" if self.line.state in (None, "thinking") else str(self.line.state)

    def start(self) -> None:
        """Start a talk.

        Raises:
            UsageError: The app is in a browser.
        """
        self._player.require_terminal()
        self._screen.stop_audio()
        self._player.read_all(True)
        self._session.load_speech()
        can_interrupt = self._session.config.barge_in
        self.line.start(self, self._session.microphone, can_interrupt=can_interrupt)

    def stop(self) -> None:
        """End the talk, if one is going on, and be silent."""
        if self.is_on:
            self.line.stop()
            self._player.read_all(False)
            self._player.stop()

    @property
    def is_thinking(self) -> bool:
        session = self._session
        return self._is_sending or session.is_transcribing or session.is_answering

    @property
    def is_speaking(self) -> bool:
        return self._player.reading is not None

    @property
    def level(self) -> float:
        return self._player.level

    def send_speech(self, clip: "Clip") -> None:
        """Transcribe a clip, unless the model hears it itself, and send it."""
        self._is_sending = True
        if self._session.config.sends_recordings:
            self._store(clip, "")
        else:
            self._speech.transcribe(clip, partial(self._store_transcribed, clip))

    def interrupt(self) -> None:
        """Stop the answer and its reading."""
        self._player.stop()
        if self._session.is_answering:
            self._screen.stop_answer()

    def _store_transcribed(self, clip: "Clip", text: str | None) -> None:
        if text:
            self._store(clip, text)
        else:  # no words, or a failure that is shown
            self._is_sending = False

    def _store(self, clip: "Clip", text: str) -> None:
        def store() -> Attachment:
            try:
                return self._session.store_clip(clip, text)
            except MmtuiError:
                self._is_sending = False
                raise

        self._screen.run_in_thread(store, partial(self._send_stored, text), text, "talk")

    async def _send_stored(self, text: str, attachment: Attachment) -> None:
        self._is_sending = False
        await self._send(text, (attachment,))
