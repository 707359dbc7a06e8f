"""Fakes for tests of the plain chat."""

import queue
import signal
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from fake_audio import FakeListening, FakeSpeaker, FakeSynthesizer
from fakes import FakeModel

from mmtui.chat.protocol import Completed, Event, Piece, Transcribed
from mmtui.errors import MmtuiError

ANSWER = "It is a joke."


class FakeRecording:
    """A recording whose length and error a test sets.

    `on_finish` is called when it ends. If `interrupts` is set, Ctrl+C is pressed while it goes on.
    """

    level = 0.25

    def __init__(self, seconds: float = 2.0, error: MmtuiError | None = None) -> None:
        self.seconds, self.error = seconds, error
        self.interrupts = False
        self.on_finish: Callable[[], None]

    @property
    def is_full(self) -> bool:
        if self.interrupts:
            signal.raise_signal(signal.SIGINT)
        return self.seconds >= 15

    def finish(self) -> np.ndarray:
        self.on_finish()
        return np.full(int(self.seconds * 16_000), 0.1, np.float32)


class FakeMicrophone:
    """Returns the recording of a test, and remembers the device that was chosen."""

    def __init__(self, recording: FakeRecording) -> None:
        self._recording = recording
        self.listening = FakeListening()
        self.device: str | None = None

    def list_devices(self) -> list[str]:
        return ["Fake Mic", "Other Mic"]

    def listen(self, device: str | None = None) -> FakeListening:
        self.device = device
        return self.listening

    def record(self, device: str | None = None) -> FakeRecording:
        self.device = device
        return self._recording


class TranscribingModel(FakeModel):
    """Returns the same transcript for each recording, and the same answer."""

    def __init__(self, transcript: str | None, events: "queue.Queue[Event]") -> None:
        super().__init__()
        self._transcript, self._events = transcript, events

    def transcribe(self, clip, language=None) -> int:
        number = super().transcribe(clip, language)
        self._events.put(Transcribed(number, self._transcript))
        return number

    def generate(self, *args, **kwargs) -> int:
        number = super().generate(*args, **kwargs)
        self._events.put(Piece(number, ANSWER))
        self._events.put(Completed(number, "stop", 20, 8, 1, 0.1, 50.0))
        return number


class PlainRun(NamedTuple):
    """What a plain chat did, and what it printed on stderr."""

    model: TranscribingModel
    microphone: FakeMicrophone
    synthesizer: FakeSynthesizer
    speaker: FakeSpeaker
    err: str
