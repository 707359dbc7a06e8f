"""Speech recognition with Whisper (arXiv:2212.04356), with the decoding options of WhisperX.

WhisperX (arXiv:2303.00747) runs Whisper through faster-whisper and CTranslate2. It adds voice
activity detection with torch, to cut long recordings into windows of 30 s. Clips are at most 15 s
long here, so faster-whisper is called directly. The transcripts are the same, and `mmtui
transcribe` starts 2 s faster without torch.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmtui import machine
from mmtui.errors import InputError
from mmtui.pipeline.assets.spec import SpeechSpec
from mmtui.pipeline.speech import voice
from mmtui.pipeline.speech.clip import RATE, Clip
from mmtui.pipeline.speech.languages import refuse_language

# Whisper transcribes windows of 30 s, and was trained on clips that are padded with silence.
# faster-whisper pads the spectrum with zeros, which do not stand for silence and cause errors.
_WINDOW_S = 30
# A segment is dropped if Whisper's probability of "no speech" exceeds the first limit, or if it
# exceeds the second one and the mean log-probability of the tokens is low. Single words reach 0.71
# and sentences 0.21, noisy or quiet; three quarters of the noises, and all tones, exceed 0.75.
_NO_SPEECH = 0.75
_UNCERTAIN_NO_SPEECH, _LOW_LOGPROB = 0.6, -1.3


@dataclass(frozen=True)
class Transcript:
    """The transcript of a clip.

    Attributes:
        text: The words; "" if nobody speaks.
        language: Code of the spoken language, such as "en".
        seconds: Duration of the clip.
        notes: Notes for the user, such as that another speech model was used.
    """

    text: str
    language: str | None
    seconds: float
    notes: tuple[str, ...] = ()


class SpeechModel:
    """Voice activity detection and Whisper.

    Both always run on the CPU: 15 s of speech take about a second, and the memory of a GPU is
    needed for the language model.
    """

    def __init__(self, spec: SpeechSpec, folder: Path) -> None:
        """Load the model.

        Args:
            spec: The specification, with the language to transcribe.
            folder: A Whisper model in CTranslate2's layout.

        Raises:
            InputError: The folder has no Whisper model.
        """
        from faster_whisper import WhisperModel

        self._name, self._language = spec.name, spec.language
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
            raise InputError(f"{folder} has no Whisper model: {error}") from error

    def transcribe(self, clip: Clip, language: str | None = None) -> Transcript:
        """Transcribe a clip.

        Args:
            clip: At most 30 s, mono float32 at 16 kHz (samples,).
            language: Code of the spoken language; None is that of the specification.

        Raises:
            UsageError: The model does not know the language.
        """
        from faster_whisper.vad import get_speech_timestamps

        language = self._check_language(language) or self._language
        seconds = len(clip) / RATE
        change = voice.detect_change(clip)
        if change == "none" or not get_speech_timestamps(clip):
            return Transcript("", language, seconds)
        segments, info = self._model.transcribe(
            np.pad(clip, (0, max(0, _WINDOW_S * RATE - len(clip)))),
            language=language,
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
            if change == "loudness" or _is_spoken(segment.no_speech_prob, segment.avg_logprob)
        ]
        return Transcript(" ".join(words).strip(), info.language, seconds)

    def _check_language(self, language: str | None) -> str | None:
        """Return the code of a language that the model knows; raise UsageError for another."""
        is_english_only = not self._model.model.is_multilingual
        token = self._model.hf_tokenizer.token_to_id(f"<|{language}|>")
        if language not in (None, "en") and (is_english_only or token is None):
            raise refuse_language(self._name, language)
        return language


def _is_spoken(no_speech_prob: float, avg_logprob: float) -> bool:
    """Return whether the words of a segment were spoken, not hallucinated from a noise."""
    return no_speech_prob <= _NO_SPEECH and not (
        no_speech_prob > _UNCERTAIN_NO_SPEECH and avg_logprob < _LOW_LOGPROB
    )
