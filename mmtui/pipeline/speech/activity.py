"""Voice activity in a stream of sound: where an utterance starts and ends.

The model is Silero VAD (https://github.com/snakers4/silero-vad), which faster-whisper contains. Its
state is carried from block to block here, since faster-whisper's function takes whole clips.
"""

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmtui.errors import MissingError
from mmtui.pipeline.speech.clip import RATE, Clip

WINDOW = 512  # samples for which the model gives a probability, 32 ms
_CONTEXT = 64  # samples before a window that the model gets, too
_STATE = (1, 1, 128)
# Speech starts above the first probability, and ends below the second one, as in Silero's defaults.
START_PROBABILITY, END_PROBABILITY = 0.5, 0.35
MIN_SPEECH_S = 0.25  # shorter sounds are coughs and clicks
END_SILENCE_S = 0.8  # people pause for up to half a second within a sentence
BEFORE_S = 0.3  # the start of a word is softer than its vowel
MAX_UTTERANCE_S = 15.0


class VoiceActivity:
    """The probability of speech in each window of a stream."""

    def __init__(self) -> None:
        """Load the model.

        Raises:
            MissingError: faster-whisper does not contain it.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(str(_find_model()), options)
        self.reset()

    def reset(self) -> None:
        """Forget the sound so far."""
        self._h, self._c = np.zeros(_STATE, np.float32), np.zeros(_STATE, np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)

    def measure(self, window: Clip) -> float:
        """Return the probability of speech, 0 to 1, in the next window (WINDOW,) at 16 kHz."""
        inputs = {
            "input": np.concatenate([self._context, window])[None],
            "h": self._h,
            "c": self._c,
        }
        output, self._h, self._c = self._session.run(None, inputs)
        self._context = window[-_CONTEXT:]
        return float(output.reshape(-1)[0])


class UtteranceDetector:
    """Cuts a stream of sound into utterances.

    Attributes:
        is_hearing: Whether somebody is speaking.
    """

    def __init__(self, activity: VoiceActivity) -> None:
        self._activity = activity
        self.reset()

    def reset(self) -> None:
        """Forget the sound so far."""
        self._activity.reset()
        self._rest: Clip = np.zeros(0, np.float32)
        self._windows: list[NDArray[np.float32]] = []
        self._speech = self._silence = 0  # windows; silence is that after the last speech
        self.is_hearing = False

    def feed(self, samples: Clip) -> list[Clip]:
        """Add samples, mono float32 at 16 kHz, and return the utterances that have ended."""
        self._rest = np.concatenate([self._rest, samples])
        utterances = []
        while len(self._rest) >= WINDOW:
            window, self._rest = self._rest[:WINDOW], self._rest[WINDOW:]
            if (utterance := self._add(window)) is not None:
                utterances.append(utterance)
        return utterances

    def _add(self, window: Clip) -> Clip | None:
        probability = self._activity.measure(window)
        self._windows.append(window)
        limit = END_PROBABILITY if self._speech else START_PROBABILITY
        if probability >= limit:
            self._speech, self._silence = self._speech + 1, 0
        else:
            self._silence += 1
        self.is_hearing = _to_seconds(self._speech) >= MIN_SPEECH_S
        if not self._speech:
            self._windows = self._windows[-round(BEFORE_S * RATE / WINDOW) :]
            return None
        has_ended = _to_seconds(self._silence) >= END_SILENCE_S
        is_full = _to_seconds(len(self._windows)) >= MAX_UTTERANCE_S
        return self._end() if has_ended or is_full else None

    def _end(self) -> Clip | None:
        is_utterance, windows = self.is_hearing, self._windows
        self._windows, self._speech, self._silence = [], 0, 0
        self.is_hearing = False
        return np.concatenate(windows)[: int(MAX_UTTERANCE_S * RATE)] if is_utterance else None


def _to_seconds(windows: int) -> float:
    return windows * WINDOW / RATE


def _find_model() -> Path:
    package = importlib.util.find_spec("faster_whisper")
    folders = (package.submodule_search_locations or []) if package else []
    for folder in folders:
        if files := sorted(Path(folder, "assets").glob("silero_vad*.onnx")):
            return files[-1]
    raise MissingError(
        "the model that detects speech is missing", "pip install --force-reinstall faster-whisper"
    )
