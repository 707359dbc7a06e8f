"""Play sound, one at a time: recordings, and answers that are read aloud."""

from collections.abc import Callable
from pathlib import Path

from textual import work
from textual.message import Message as TextualMessage
from textual.widget import Widget
from textual.worker import get_current_worker

from mmtui.audio.player import Playback, Speaker
from mmtui.chat.config import Config
from mmtui.chat.conversation import Attachment, Message
from mmtui.chat.notice import Notice
from mmtui.chat.read_aloud import ReadAloud
from mmtui.errors import MmtuiError, UsageError
from mmtui.frontends.tui.messages import NoticePosted
from mmtui.pipeline import input_files
from mmtui.pipeline.speech.synthesis import Synthesizer


class Player(Widget):
    """An invisible widget that plays sound; it posts errors as `NoticePosted`."""

    DEFAULT_CSS = "Player { display: none; }"

    class ReadingChanged(TextualMessage):
        """Another message is read aloud, or none, or the reading was paused or resumed.

        It is also posted when a sound file starts and ends, without messages.

        Attributes:
            before: The message that is no longer read.
            message: The message that is read.
            is_paused: Whether the reading is paused.
        """

        def __init__(
            self, before: Message | None, message: Message | None, is_paused: bool
        ) -> None:
            super().__init__()
            self.before, self.message, self.is_paused = before, message, is_paused

    def __init__(
        self,
        speaker: Speaker,
        synthesizer: Synthesizer,
        get_config: Callable[[], Config],
        find: Callable[[Attachment], Path],
    ) -> None:
        """Create the widget.

        Args:
            speaker: Plays sound.
            synthesizer: Makes speech of answers.
            get_config: Returns the settings.
            find: Returns the file of an attachment.
        """
        super().__init__()
        self._speaker, self._get_config = speaker, get_config
        self._playing: Playback | None = None
        self._aloud = ReadAloud(speaker, synthesizer, get_config, self._end_reading, find)
        self._shown: tuple[Message | None, bool] = (None, False)  # as in `ReadingChanged`

    def on_mount(self) -> None:
        if not self.app.is_web:
            self._aloud.prepare()

    def on_unmount(self) -> None:
        self.stop()
        self._aloud.close()

    @property
    def is_playing(self) -> bool:
        """Whether a recording is being played, or an answer read aloud."""
        return self._playing is not None or self._aloud.message is not None

    @property
    def reading(self) -> Message | None:
        """The message that is being read aloud."""
        return self._aloud.message

    @property
    def level(self) -> float:
        """The peak level of the answer that is read aloud, from 0 to 1."""
        return self._aloud.level

    @property
    def state(self) -> str:
        """What the status bar shows; "" if nothing is read or played."""
        if self._playing is not None:
            return "playing"
        if self._aloud.message is None:
            return ""
        return "reading paused" if self._aloud.is_paused else "reading aloud"

    # Answers

    def read_all(self, is_on: bool) -> None:
        """Read all answers aloud, whatever the settings say, or no longer."""
        self._aloud.reads_all = is_on
        self._aloud.prepare()

    def require_terminal(self) -> None:
        """Raise UsageError in a browser, because the sound is played on the server's machine."""
        if self.app.is_web:
            raise UsageError(
                "a browser can't read answers aloud: the server's machine would play the sound",
                "run mmtui in a terminal",
            )

    def read(self, message: Message) -> None:
        """Read an answer aloud.

        Raises:
            UsageError: The app is in a browser, or there is no such voice as in the settings.
        """
        self.require_terminal()
        self.stop()
        self._aloud.read(message)
        self._show_reading()

    def follow(self, reply: Message | None) -> None:
        """Read the reply that is being written, if the settings say so or it was started."""
        if not self.app.is_web:
            self._aloud.follow(reply)
            self._show_reading()

    def toggle_pause(self) -> None:
        """Pause or resume the reading."""
        self._aloud.toggle_pause()
        self._show_reading()

    def update_settings(self) -> None:
        """Apply changed settings to what is being read."""
        self._aloud.update_settings()
        self._aloud.prepare()

    def _show_reading(self) -> None:
        before, self._shown = self._shown, (self._aloud.message, self._aloud.is_paused)
        if self._shown != before:
            self.post_message(self.ReadingChanged(before[0], *self._shown))

    def _end_reading(self, error: MmtuiError | None) -> None:
        """Called in the thread of a narration at its end."""
        if error is not None:
            self.post_message(NoticePosted(Notice(str(error), error.hint)))
        self.call_later(self._show_reading)

    # Recordings

    @work(thread=True, group="play")
    def play(self, file: Path) -> None:
        """Play a sound file in a thread."""
        worker, config = get_current_worker(), self._get_config()
        playing: Playback | None = None
        try:
            rate, blocks = input_files.read_samples(file)
            if not worker.is_cancelled:
                device = config.speaker or None
                self._playing = playing = self._speaker.open(rate, device, config.volume)
                self.post_message(self.ReadingChanged(None, None, False))
                for samples in blocks:
                    if playing.has_ended:
                        break
                    playing.write(samples)
                playing.finish()
                playing.wait()
        except MmtuiError as error:
            self.post_message(NoticePosted(Notice(str(error), error.hint)))
            if playing is not None:
                playing.stop()
        finally:
            if self._playing is playing:
                self._playing = None
            self.post_message(self.ReadingChanged(None, None, False))

    def stop(self) -> None:
        """Stop the playback and the reading."""
        self.workers.cancel_group(self, "play")
        if self._playing is not None:
            self._playing.stop()
            self._playing = None
        if self._aloud.message is not None:
            self._aloud.stop()
            self._show_reading()
