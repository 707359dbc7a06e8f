"""Reading the answers of a chat aloud, one at a time."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from mmtui.audio.narration import Narration
from mmtui.audio.player import Playback, Speaker
from mmtui.chat.config import Config
from mmtui.chat.conversation import Attachment, Message
from mmtui.errors import MmtuiError
from mmtui.pipeline.input_files import stream_samples
from mmtui.pipeline.speech.synthesis import RATE, Synthesizer
from mmtui.pipeline.speech.voices import check_voice


class ReadAloud:
    """Reads an answer aloud, which may still be written, or plays its sound if it has one.

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
        find: Callable[[Attachment], Path],
    ) -> None:
        """Create the reader, which is silent.

        Args:
            speaker: Plays the speech.
            synthesizer: Makes it.
            get_config: Returns the settings.
            on_end: Called in a thread at the end of an answer, with the error if it failed.
            find: Returns the file of an attachment; raises MmtuiError if it is gone.
        """
        self.is_paused = self.reads_all = False
        self._speaker, self._synthesizer = speaker, synthesizer
        self._get_config, self._on_end, self._find = get_config, on_end, find
        self._narration: Narration[Playback] | None = None
        self._message: Message | None = None
        self._start = 0  # the character of the message from which it is read
        self._position = 0  # the character up to which it was passed on
        self._is_complete = True
        self._reply: Message | None = None  # the one that `follow` knows

    @property
    def message(self) -> Message | None:
        """The message that is being read; None if nothing is."""
        narration = self._narration
        return None if narration is None or narration.has_ended else self._message

    @property
    def is_active(self) -> bool:
        """Whether an answer is being read, or a sound played."""
        return self._narration is not None and not self._narration.has_ended

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

    def play(self, file: Path) -> None:
        """Play a sound file instead of what is being read."""
        self.stop()
        self._message, self._is_complete = None, True
        self._narration = self._start_narration(loads_voice=False)
        self._narration.play(partial(stream_samples, file, RATE))
        self._narration.finish()

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
        self._message, self._position = message, position
        self._start, self._is_complete = position, False
        has_text = not (message.state == "complete" and _list_sounds(message))
        self._narration = self._start_narration(loads_voice=has_text)
        self._pass_on()

    def _start_narration(self, *, loads_voice: bool) -> Narration[Playback]:
        config = self._get_config()
        self.is_paused = False

        def open_playback() -> Playback:
            playback = self._speaker.open(RATE, config.speaker or None, config.volume)
            if self.is_paused:
                playback.set_paused(True)
            return playback

        return Narration(
            self._synthesizer,
            open_playback,
            config.voice,
            config.speaking_rate,
            self._on_end,
            loads_voice=loads_voice,
        )

    def _pass_on(self) -> None:
        message = self._message
        if self._is_complete or self._narration is None or message is None:
            return
        sounds = _list_sounds(message)
        is_expected = message.is_spoken and message.state == "writing"
        has_sound = is_expected or bool(sounds)
        is_read = self._position > self._start  # the sound came too late
        text = message.text[self._position :]
        if text and (is_read or not has_sound):
            self._narration.write(text)
            self._position = len(message.text)
        if message.state != "writing":
            self._is_complete = True
            for sound in sounds if not is_read else ():
                self._narration.play(partial(self._load, sound))
            self._narration.finish()

    def _load(self, sound: Attachment) -> Iterator[bytes]:
        return stream_samples(self._find(sound), RATE)


def _list_sounds(message: Message) -> list[Attachment]:
    return [file for file in message.attachments if file.kind == "audio"]
