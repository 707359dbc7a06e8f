"""Speech -> text, by WhisperX."""

import contextlib
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtui.errors import InputError
from mmtui.pipeline.assets.spec import SpeechSpec
from mmtui.pipeline.speech import voice
from mmtui.pipeline.speech.sound import RATE, Clip

# Whisper's own probability that nobody speaks: 0.71 at most for single words, 0.21 for sentences,
# noisy or quiet; three quarters of noises, and tones, have more than 0.75.
_NO_SPEECH = 0.75
# Less of it is enough where Whisper is unsure of the words, too: their mean log-probability.
_DOUBTFUL, _UNSURE = 0.6, -1.3


@dataclass(frozen=True)
class Transcript:
    text: str  # "" where nobody speaks
    language: str | None
    seconds: float


class SpeechModel:
    """A WhisperX pipeline over a CTranslate2 folder: voice detection, then recognition.

    On the CPU, also where there is a GPU: 15 s take a second, and its memory is the
    language model's.
    """

    def __init__(self, spec: SpeechSpec, folder: Path) -> None:
        """Raises InputError if the folder holds no Whisper model."""
        os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "false")  # telemetry, on by default
        # Half of the cores: CTranslate2 shares torch's OpenMP, which from more threads than
        # cores on lets them sleep between any two steps, and the answer comes at half speed.
        with _quiet():
            import whisperx

            try:
                self._pipeline: Any = whisperx.load_model(
                    str(folder),
                    "cpu",
                    compute_type="int8",
                    language=spec.language,
                    vad_method="pyannote",  # its weights are in the package; silero's are fetched
                    local_files_only=True,
                    threads=max(1, (os.cpu_count() or 2) // 2),
                )
            except (RuntimeError, OSError, ValueError) as error:
                raise InputError(f"{folder} holds no Whisper model: {error}") from error
        self._recognizer = self._pipeline.model.model = _Recognizer(self._pipeline.model.model)

    def transcribe(self, clip: Clip) -> Transcript:
        """Recognize what is said; `clip` is mono at 16 kHz."""
        self._recognizer.no_speech.clear()
        with _quiet():
            result = self._pipeline.transcribe(clip, batch_size=1)
        segments = zip(result["segments"], self._recognizer.no_speech, strict=True)
        said = [
            segment["text"].strip()
            for segment, no_speech in segments
            if _is_said(segment, no_speech, clip)
        ]
        return Transcript(" ".join(said).strip(), result["language"], len(clip) / RATE)


class _Recognizer:
    """CTranslate2's Whisper, which also keeps the probability of no speech; WhisperX drops it."""

    def __init__(self, whisper: Any) -> None:
        self._whisper = whisper
        self.no_speech: list[float] = []  # of each segment, in their order

    def generate(self, *inputs: Any, **options: Any) -> Any:
        results = self._whisper.generate(*inputs, **options, return_no_speech_prob=True)
        self.no_speech += [result.no_speech_prob for result in results]
        return results

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whisper, name)


def _is_said(segment: dict[str, Any], no_speech: float, clip: Clip) -> bool:
    """Whether the words of a segment were spoken, or made up under a noise."""
    piece = clip[int(segment["start"] * RATE) : int(segment["end"] * RATE)]
    if (movement := voice.movement(piece)) != "spectrum":
        return movement == "loudness"
    return no_speech <= _NO_SPEECH and not (
        no_speech > _DOUBTFUL and segment["avg_logprob"] < _UNSURE
    )


@contextlib.contextmanager
def _quiet() -> Any:
    """whisperx and pyannote print and log to the user's terminal; stdout must stay ours."""
    disabled = logging.root.manager.disable
    logging.disable(max(disabled, logging.WARNING))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        logging.disable(disabled)
