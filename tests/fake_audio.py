"""Fakes of the speaker and of the voice."""

import io
import threading
import wave

import numpy as np

from mmtui.errors import MmtuiError
from mmtui.pipeline.speech.spoken_text import Sentence


class FakeListening:
    """An open microphone; a test sets what it hears."""

    def __init__(self) -> None:
        self.is_open, self.is_hearing, self.level = True, False, 0.25
        self.error: MmtuiError | None = None
        self.is_muted = self.is_stopped = False
        self.utterances: list[np.ndarray] = []

    def set_muted(self, is_muted: bool) -> None:
        self.is_muted = is_muted

    def take_utterance(self) -> np.ndarray | None:
        return self.utterances.pop(0) if self.utterances else None

    def stop(self) -> None:
        self.is_stopped = True

    def say(self) -> None:
        """Hear an utterance of two seconds."""
        self.utterances.append(np.full(32_000, 0.1, np.float32))


class FakePlayback:
    """Collects samples; has ended when it is stopped, or told to by `end`."""

    def __init__(self, speaker: "FakeSpeaker", rate: int, volume: float) -> None:
        self.speaker, self.rate, self.volume = speaker, rate, volume
        self.samples, self.level, self.is_paused = b"", 0.25, False

    @property
    def seconds(self) -> float:
        return len(self.samples) / 2 / self.rate

    @property
    def has_ended(self) -> bool:
        return self.speaker.stopped.is_set() or self.speaker.error is not None

    def write(self, samples: bytes) -> None:
        self.samples += samples

    def finish(self) -> None:
        stream = io.BytesIO()
        with wave.open(stream, "wb") as file:
            file.setparams((1, 2, self.rate, 0, "NONE", ""))
            file.writeframes(self.samples)
        self.speaker.played.append(stream.getvalue())
        if not self.speaker.is_endless:
            self.speaker.stopped.set()

    def wait(self) -> None:
        if self.speaker.error is not None:
            raise self.speaker.error
        self.speaker.stopped.wait(60)

    def stop(self) -> None:
        self.speaker.stopped.set()

    def set_paused(self, is_paused: bool) -> None:
        self.is_paused = is_paused

    def set_volume(self, volume: float) -> None:
        self.volume = volume


class FakeSpeaker:
    """Fails, or plays: until it is stopped, or to the end if it is not endless."""

    def __init__(self, error: MmtuiError | None = None, *, is_endless: bool = True) -> None:
        self.is_endless = is_endless
        self.played: list[bytes] = []
        self.playbacks: list[FakePlayback] = []
        self.devices_used: list[str | None] = []
        self.stopped, self.error = threading.Event(), error

    def list_devices(self) -> list[str]:
        return ["Fake Speaker"]

    def open(self, rate: int, device: str | None = None, volume: float = 1.0) -> FakePlayback:
        self.stopped.clear()
        self.devices_used.append(device)
        self.playbacks.append(FakePlayback(self, rate, volume))
        return self.playbacks[-1]


class FakeSynthesizer:
    """Returns two bytes for each sentence, and remembers the sentences."""

    def __init__(self, error: MmtuiError | None = None) -> None:
        self.spoken: list[str] = []
        self.voices: list[tuple[str, float]] = []
        self.error, self.starts, self.closed = error, 0, False

    def start(self) -> None:
        self.starts += 1

    def synthesize(self, sentence: Sentence, voice: str, speed: float = 1.0) -> bytes:
        if self.error is not None:
            raise self.error
        self.spoken.append(sentence.text)
        self.voices.append((voice, speed))
        return b"\0\1"

    def close(self) -> None:
        self.closed = True
