"""`mmtui ask --speak` and `--speak-to`: answers read aloud."""

import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from mmtui.chat.config import Config
from mmtui.cli.answers import Answer
from mmtui.files import check_destination, replacing
from mmtui.paths import resolve
from mmtui.pipeline.speech.sound_file import check_suffix
from mmtui.pipeline.speech.voices import check_voice

if TYPE_CHECKING:
    from mmtui.audio.narration import Narration, Sink
    from mmtui.pipeline.speech.synthesis import SynthesizerProcess

SpeakOption = Annotated[
    bool,
    typer.Option(
        "--speak",
        help="Read the answer aloud while it is printed. The settings have the voice, its speed,"
        " the volume and the speaker.",
    ),
]
SpeakToOption = Annotated[
    Path | None,
    typer.Option(
        "--speak-to",
        parser=resolve,
        metavar="FILE",
        help="Write the answer as speech to a sound file: .wav, .flac, .mp3, .aac, .ogg or .opus.",
    ),
]


class SpokenAnswer(Protocol):
    """An answer that may come with sounds of its own, which are played instead of the text."""

    @property
    def is_spoken(self) -> bool:
        """Whether the text is the transcript of a sound, which follows."""
        ...

    @property
    def sounds(self) -> Sequence[bytes]:
        """The sounds so far, as files."""
        ...


class Speech:
    """The narrations of an answer."""

    def __init__(self, narrations: "Sequence[Narration[Sink]]") -> None:
        self._narrations = narrations

    def follow(self, answer: Answer, spoken: SpokenAnswer | None = None) -> Answer:
        """Return an answer that is read aloud while it is iterated over.

        Args:
            answer: The answer.
            spoken: The same answer, if it may come with sounds.
        """
        return _NarratedAnswer(answer, spoken, self._narrations) if self._narrations else answer

    def wait(self) -> None:
        """Wait until everything is read.

        Raises:
            MmtuiError: There is no speaker, voice, or space on the disk.
        """
        for narration in self._narrations:
            narration.wait()


class _NarratedAnswer:
    def __init__(
        self,
        answer: Answer,
        spoken: SpokenAnswer | None,
        narrations: "Sequence[Narration[Sink]]",
    ) -> None:
        self._answer, self._spoken, self._narrations = answer, spoken, narrations

    def __iter__(self) -> Iterator[str]:
        is_read, transcript = False, list[str]()
        for piece in self._answer:
            if self._spoken is not None and self._spoken.is_spoken:
                transcript.append(piece)
            else:
                is_read = True
                self._write(piece)
            yield piece
        sounds = self._spoken.sounds if self._spoken is not None and not is_read else ()
        if not (is_read or sounds):  # the sound was left out
            self._write("".join(transcript))
        for narration in self._narrations:
            for sound in sounds:
                narration.play(partial(_decode, sound))
            narration.finish()

    def _write(self, text: str) -> None:
        for narration in self._narrations:
            narration.write(text)

    def cancel(self) -> None:
        """Cancel the answer, and be silent at once."""
        for narration in self._narrations:
            narration.stop()
        self._answer.cancel()


def _decode(sound: bytes) -> Iterator[bytes]:
    from mmtui.pipeline.speech.sound_stream import decode_samples
    from mmtui.pipeline.speech.synthesis import RATE

    return decode_samples(io.BytesIO(sound), RATE)


def check_speech(config: Config, speak_to: Path | None) -> None:
    """Check the voice and the file before an answer is generated.

    Raises:
        UsageError: There is no such voice or format.
        InputError: The file can't be written.
    """
    check_voice(config.voice)
    if speak_to is not None:
        check_suffix(speak_to)
        check_destination(speak_to)


@contextmanager
def read_aloud(config: Config, *, speak: bool, speak_to: Path | None) -> Iterator[Speech]:
    """Read an answer aloud; without options, do nothing.

    Args:
        config: The settings, with the voice and the speaker.
        speak: Whether it is played.
        speak_to: The file that it is written to, which is replaced at the end.
    """
    if not (speak or speak_to):
        yield Speech([])
        return
    from mmtui.audio.narration import FileSink, Narration
    from mmtui.audio.player import SystemSpeaker
    from mmtui.pipeline.speech.synthesis import RATE, SynthesizerProcess

    narrations: list[Narration[Sink]] = []
    synthesizer = SynthesizerProcess()
    with ExitStack() as stack:
        if speak_to:
            # It is removed last: a narration could create it again.
            file = stack.enter_context(replacing(speak_to))
        # At the end, no process of a player is left, even if Ctrl-C came while it started.
        stack.callback(_stop, narrations, synthesizer)
        if speak:
            device, volume = config.speaker or None, config.volume
            narrations.append(
                Narration(
                    synthesizer,
                    lambda: SystemSpeaker().open(RATE, device, volume),
                    config.voice,
                    config.speaking_rate,
                )
            )
        if speak_to:
            narrations.append(
                Narration(synthesizer, lambda: FileSink(file), config.voice, config.speaking_rate)
            )
        yield Speech(narrations)


def _stop(narrations: "Sequence[Narration[Sink]]", synthesizer: "SynthesizerProcess") -> None:
    """Be silent at once, and wait until the sound device and the files are closed."""
    for narration in narrations:
        narration.stop()
    synthesizer.close()  # a sentence in progress would take seconds
    for narration in narrations:
        narration.wait()
