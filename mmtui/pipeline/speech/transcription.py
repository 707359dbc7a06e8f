"""Speech to text with Whisper, on the engine of WhisperX.

WhisperX runs Whisper through faster-whisper and CTranslate2, neither of which needs torch. What
WhisperX adds needs it: finding the speech in long recordings, to cut them into pieces. A clip here
is at most 15 s long, which is less than the 30 s that Whisper reads at once, so faster-whisper is
called directly, with WhisperX's decoding options. The transcripts are the same, and `mmtui
transcribe` starts 2 s earlier.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmtui import machine
from mmtui.errors import InputError
from mmtui.pipeline.assets.spec import SpeechSpec
from mmtui.pipeline.speech import voice
from mmtui.pipeline.speech.sound import RATE, Clip

# Whisper reads 30 s at once. It was trained on sound that is filled up with silence; faster-whisper
# fills up the spectrum with zeros instead, which are no silence, and more words are wrong.
_WINDOW_S = 30
# Whisper's probability that a segment holds no speech. Single words reach 0.71 and sentences 0.21,
# noisy or quiet; three quarters of the noises, and all tones, exceed 0.75.
_NO_SPEECH = 0.75
# A lower probability is enough where the mean log-probability of the words is low as well.
_PERHAPS_NO_SPEECH, _LOW_LOGPROB = 0.6, -1.3


@dataclass(frozen=True)
class Transcript:
    """What was recognized in a clip.

    Attributes:
        text: The words; "" where nobody speaks.
        language: Code of the spoken language, such as "en".
        seconds: Duration of the clip.
    """

    text: str
    language: str | None
    seconds: float


class SpeechModel:
    """Voice activity detection, then Whisper.

    It runs on the CPU, also where there is a GPU: 15 s of speech take about a second, and the
    GPU's memory is left to the language model.
    """

    def __init__(self, spec: SpeechSpec, folder: Path) -> None:
        """Load the model.

        Args:
            spec: Names the language; None has it detected in each clip.
            folder: A Whisper model in CTranslate2's layout.

        Raises:
            InputError: The folder holds no Whisper model.
        """
        from faster_whisper import WhisperModel

        self._language = spec.language
        try:
            # Half of the cores: CTranslate2 may share an OpenMP runtime with torch, which lets
            # threads sleep between any two steps once there are more of them than cores.
            self._model = WhisperModel(
                str(folder),
                device="cpu",
                compute_type="int8",
                cpu_threads=max(1, machine.count_cores() // 2),
                local_files_only=True,
            )
        except (RuntimeError, OSError, ValueError) as error:
            raise InputError(f"{folder} holds no Whisper model: {error}") from error

    def transcribe(self, clip: Clip) -> Transcript:
        """Return the words of a clip, mono at 16 kHz and at most 30 s long."""
        from faster_whisper.vad import get_speech_timestamps

        seconds = len(clip) / RATE
        changing = voice.detect_change(clip)
        if changing == "none" or not get_speech_timestamps(clip):
            return Transcript("", self._language, seconds)
        segments, info = self._model.transcribe(
            np.pad(clip, (0, max(0, _WINDOW_S * RATE - len(clip)))),
            language=self._language,
            beam_size=5,
            temperature=0.0,
            without_timestamps=True,
            condition_on_previous_text=False,
            compression_ratio_threshold=None,
            log_prob_threshold=None,
            no_speech_threshold=None,
        )
        words = [
            segment.text.strip()
            for segment in segments
            if changing == "loudness" or _is_spoken(segment.no_speech_prob, segment.avg_logprob)
        ]
        return Transcript(" ".join(words).strip(), info.language, seconds)


def _is_spoken(no_speech_prob: float, avg_logprob: float) -> bool:
    """Return whether words were spoken, rather than made up by Whisper from a noise."""
    return no_speech_prob <= _NO_SPEECH and not (
        no_speech_prob > _PERHAPS_NO_SPEECH and avg_logprob < _LOW_LOGPROB
    )
