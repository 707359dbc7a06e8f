"""Reading the answers of a chat aloud, one at a time."""

from collections.abc import Callable

from mmtui.audio.narration import Narration
from mmtui.audio.player import Playback, Speaker
from mmtui.chat.config import Config
from mmtui.chat.conversation import Message
from mmtui.errors import MmtuiError
from mmtui.pipeline.speech.synthesis import RATE, Synthesizer
from mmtui.pipeline.speech.voices import check_voice


class ReadAloud:
    """Reads an answer aloud, which may still be written.

    Attributes:
        is_paused: Whether the reading is paused.
        reads_all: Whether all answers are read, whatever the settings say.
    """

    def __init__(
        self,
        speaker: Speaker,
        synthesizer: Synthesizer,
        get_config: Callable[[], Config],
        on_end: Callable[[MmtuiError | None], object],
    ) -> None:
        """Create the reader, which is silent.

        Args:
            speaker: Plays the speech.
            synthesizer: Makes it.
            get_config: Returns the settings.
            on_end: Called in a thread at the end of an answer, with the error if it failed.
        """
        self.is_paused = self.reads_all = False
        self._speaker, self._synthesizer = speaker, synthesizer
        self._get_config, self._on_end = get_config, on_end
        self._narration: Narration[Playback] | None = None
        self._message: Message | None = None
        self._position = 0  # characters of the message that have been passed on
        self._is_complete = True
        self._reply: Message | None = None  # the one that `follow` knows

    @property
    def message(self) -> Message | None:
        """The message that is being read; None if nothing is."""
        narration = self._narration
        return None if narration is None or narration.has_ended else self._message

    @property
    def level(self) -> float:
        """The peak level of what is being played, from 0 to 1."""
        narration = self._narration
        return narration.sink.level if narration and narration.sink else 0.0

    @property
    def _reads_answers(self) -> bool:
        return self.reads_all or self._get_config().speak == "always"

    def prepare(self) -> None:
        """Load the voice, if answers are read aloud. Does not block."""
        if self._reads_answers:
            self._synthesizer.start()

    def read(self, message: Message) -> None:
        """Read a message aloud from its beginning, instead of what is being read.

        Raises:
            UsageError: There is no such voice as in the settings.
        """
        check_voice(self._get_config().voice)
        self._read(message, 0)

    def follow(self, reply: Message | None) -> None:
        """Pass on the text that has been added to the message.

        A new reply is read if the settings say so.

        Args:
            reply: The reply that is being written, if there is one.
        """
        is_new, self._reply = reply is not self._reply, reply
        if reply is not None and is_new and self._reads_answers:
            is_continued = reply is self._message
            self._read(reply, self._position if is_continued else 0)
        self._pass_on()

    def toggle_pause(self) -> None:
        """Pause the reading, or resume it."""
        self.is_paused = not self.is_paused
        if self._narration and self._narration.sink:
            self._narration.sink.set_paused(self.is_paused)

    def update_settings(self) -> None:
        """Apply the settings to what is being read.

        The volume changes at once, voice and speed with the next sentence.

        Raises:
            UsageError: There is no such voice.
        """
        config = self._get_config()
        check_voice(config.voice)
        if self._narration is not None:
            self._narration.voice, self._narration.speed = config.voice, config.speaking_rate
            if self._narration.sink:
                self._narration.sink.set_volume(config.volume)

    def stop(self) -> None:
        """Be silent at once."""
        if self._narration is not None:
            self._narration.stop()
            self._narration = None

    def close(self) -> None:
        """Be silent, and end the process of the voice."""
        self.stop()
        self._synthesizer.close()

    def _read(self, message: Message, position: int) -> None:
        self.stop()
        config = self._get_config()
        self._message, self._position = message, position
        self.is_paused = self._is_complete = False

        def open_playback() -> Playback:
            playback = self._speaker.open(RATE, config.speaker or None, config.volume)
            if self.is_paused:
                playback.set_paused(True)
            return playback

        self._narration = Narration(
            self._synthesizer, open_playback, config.voice, config.speaking_rate, self._on_end
        )
        self._pass_on()

    def _pass_on(self) -> None:
        message = self._message
        if self._is_complete or self._narration is None or message is None:
            return
        if text := message.text[self._position :]:
            self._narration.write(text)
            self._position = len(message.text)
        if message.state != "writing":
            self._is_complete = True
            self._narration.finish()
