"""Speech -> text, by WhisperX."""

import contextlib
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtui.errors import InputError
from mmtui.pipeline.sound import RATE, Clip
from mmtui.pipeline.spec import SpeechSpec


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

    def transcribe(self, clip: Clip) -> Transcript:
        """`clip` is mono at 16 kHz."""
        with _quiet():
            result = self._pipeline.transcribe(clip, batch_size=1)
        text = " ".join(segment["text"].strip() for segment in result["segments"]).strip()
        return Transcript(text, result["language"], len(clip) / RATE)


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
