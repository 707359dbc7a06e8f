"""Reading a text aloud while it is still being written."""

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from mmtui.errors import MissingError, MmtuiError
from mmtui.pipeline.speech.sound_file import SoundWriter
from mmtui.pipeline.speech.spoken_text import SpokenText
from mmtui.pipeline.speech.synthesis import RATE, Synthesizer
from mmtui.pipeline.speech.voices import DEFAULT_VOICE

POLL_S = 0.1  # how often a failure of the speaker or Ctrl-C is noticed while nothing else happens


class Sink(Protocol):
    """Where the samples of speech go: a `Playback` or a file."""

    @property
    def has_ended(self) -> bool:
        """Whether further samples would be lost."""
        ...

    def write(self, samples: bytes) -> None:
        """Add samples, mono with 16 bits at the rate of the synthesizer."""
        ...

    def finish(self) -> None:
        """End the sound after the samples so far."""
        ...

    def wait(self) -> None:
        """Wait until the sound has ended.

        Raises:
            MissingError: It can't be played.
        """
        ...

    def stop(self) -> None:
        """End the sound at once."""
        ...


LoadSamples = Callable[[], Iterator[bytes]]
SinkType = TypeVar("SinkType", bound=Sink)


class FileSink:
    """Writes speech to a sound file."""

    has_ended = False

    def __init__(self, file: Path) -> None:
        """Start the file, whose suffix selects the format."""
        self._writer = SoundWriter(file, file.suffix, RATE)

    def write(self, samples: bytes) -> None:
        self._writer.write(samples)

    def finish(self) -> None:
        self._writer.close()

    def wait(self) -> None:
        """Return: the file is complete after `finish`."""

    def stop(self) -> None:
        """Return: the rest is not written, and the caller removes the file."""


class Narration(Generic[SinkType]):
    """A text that is read aloud in a thread, sentence by sentence, while it arrives.

    Attributes:
        voice: The voice of the following sentences.
        speed: The speed of the following sentences; 1 is the usual one.
        sink: Where the speech goes; None until it is open.
        has_ended: Whether nothing more will be read.
    """

    def __init__(
        self,
        synthesizer: Synthesizer,
        open_sink: Callable[[], SinkType],
        voice: str = DEFAULT_VOICE,
        speed: float = 1.0,
        on_end: Callable[[MmtuiError | None], object] = lambda _: None,
        *,
        loads_voice: bool = True,
    ) -> None:
        """Start to load the voice and to open the device.

        Args:
            synthesizer: Converts the sentences to speech.
            open_sink: Opens where the speech goes; called in the thread.
            voice: The voice.
            speed: 1 is the usual speed of the voice.
            on_end: Called in the thread at the end, with the reason if not everything was read.
            loads_voice: Whether there is a text to read; sounds need no voice.
        """
        self.voice, self.speed = voice, speed
        self.sink: SinkType | None = None
        self.has_ended = False
        self._synthesizer, self._open_sink, self._on_end = synthesizer, open_sink, on_end
        self._loads_voice = loads_voice
        self._pieces: queue.Queue[str | LoadSamples | None] = queue.Queue()  # None is the end
        self._is_stopped = False
        self._error: MmtuiError | None = None
        self._is_over = threading.Event()
        threading.Thread(target=self._run, name="narration", daemon=True).start()

    def write(self, piece: str) -> None:
        """Add a piece of the text, which is Markdown. Does not block."""
        self._pieces.put(piece)

    def play(self, load: LoadSamples) -> None:
        """Play a sound after what was added before. Does not block.

        Args:
            load: Returns its samples, as `Sink.write` takes them; called in the thread. It may
                raise MmtuiError, and so may the iterator.
        """
        self._pieces.put(load)

    def finish(self) -> None:
        """End the text. Does not block."""
        self._pieces.put(None)

    def stop(self) -> None:
        """Be silent at once. Does not block."""
        self._is_stopped = True
        self._pieces.put(None)
        if self.sink is not None:
            self.sink.stop()

    def wait(self) -> None:
        """Wait until everything is read, or until the sink is closed after `stop`.

        Raises:
            MmtuiError: Not everything could be read.
        """
        # A signal that arrives just before the main thread blocks is handled only after it has
        # blocked. `Thread.join` also returns at once after a join that Ctrl-C has interrupted.
        while not self._is_over.wait(POLL_S):
            pass
        if self._error is not None and not self._is_stopped:
            raise self._error

    def _run(self) -> None:
        try:
            self._narrate()
        finally:
            self._is_over.set()

    def _narrate(self) -> None:
        try:
            if self._loads_voice:
                self._synthesizer.start()
            self.sink = self._open_sink()
            self._read(self.sink)
        except MmtuiError as error:
            self._error = error
        except OSError as error:  # the file can't be written
            self._error = MmtuiError(f"the speech can't be written: {error.strerror or error}")
        finally:
            self.has_ended = True
        self._on_end(None if self._is_stopped else self._error)

    def _read(self, sink: Sink) -> None:
        text, is_complete = SpokenText(), False
        while not (is_complete or self._is_stopped or sink.has_ended):
            try:
                piece = self._pieces.get(timeout=POLL_S)
            except queue.Empty:
                continue
            is_complete = piece is None
            if callable(piece):
                self._play(piece(), sink)
                continue
            for sentence in text.finish() if piece is None else text.write(piece):
                if self._is_stopped or sink.has_ended:
                    break
                try:
                    sink.write(self._synthesizer.synthesize(sentence, self.voice, self.speed))
                except MissingError as error:
                    if self._is_stopped:  # the voice may have been closed during the sentence
                        break
                    if sentence.language == "en":
                        raise
                    self._error = self._error or error  # the rest may be in English
        if self._is_stopped:
            sink.stop()
        sink.finish()
        sink.wait()

    def _play(self, blocks: Iterator[bytes], sink: Sink) -> None:
        for samples in blocks:
            if self._is_stopped or sink.has_ended:
                return
            sink.write(samples)
