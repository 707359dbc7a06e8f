"""The speech model of a model, which is chosen, fetched and loaded when it is first needed."""

import dataclasses
from typing import TYPE_CHECKING

from mmtui.errors import MissingError
from mmtui.pipeline.assets import fetch, speech_models
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.assets.spec import ModelSpec, SpeechChoice, SpeechSpec
from mmtui.pipeline.speech.languages import refuse_language

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip
    from mmtui.pipeline.speech.transcription import SpeechModel, Transcript


class Transcriber:
    """Transcribes recordings.

    While base is not on this machine and tiny.en is, as after an update, tiny.en transcribes
    English, and a note says so.
    """

    def __init__(self, spec: ModelSpec, choice: SpeechChoice, report: Report) -> None:
        """Create a transcriber without loading anything.

        Args:
            spec: The model, with the speech model that was chosen.
            choice: How it was chosen; only a model chosen by "auto" has a substitute.
            report: Called with (step, done, total) while something is fetched or loaded.
        """
        self._name, self._spec = spec.name, spec.speech
        self._has_substitute, self._report = choice == "auto", report
        self._loaded: dict[str, SpeechModel] = {}  # by the URI of the weights

    @property
    def is_loaded(self) -> bool:
        """Whether a speech model is loaded."""
        return bool(self._loaded)

    def load(self, language: str | None = None) -> None:
        """Load the speech model for a language, if the model has one."""
        if self._spec is not None:
            self._load(self._select(self._spec, language))

    def transcribe(self, clip: "Clip", language: str | None = None) -> "Transcript":
        """Transcribe speech, mono at 16 kHz. The speech model is not loaded for silence.

        Args:
            clip: The recording.
            language: Code of the spoken language; None detects it, if the speech model can.

        Raises:
            MissingError: The model has no speech model, or its weights can't be fetched.
            UsageError: The speech model does not know the language.
        """
        from mmtui.pipeline.speech.clip import RATE
        from mmtui.pipeline.speech.sound import is_silent
        from mmtui.pipeline.speech.transcription import Transcript

        if self._spec is None:
            raise MissingError(f"{self._name} has no speech model", "use --model smol")
        speech = self._select(self._spec, language)
        if is_silent(clip):
            return Transcript("", language or speech.language, len(clip) / RATE)
        transcript = self._load(speech).transcribe(clip, language)
        if speech == self._spec:
            return transcript
        size = self._spec.weights.download / 1e6
        note = (
            f"{speech.name} transcribes English only; `mmtui pull smol` fetches {self._spec.name}"
            f" ({size:.0f} MB), which makes fewer mistakes and knows 99 languages"
        )
        return dataclasses.replace(transcript, notes=(note,))

    def _select(self, speech: SpeechSpec, language: str | None) -> SpeechSpec:
        if speech.languages and language is not None and language not in speech.languages:
            raise refuse_language(speech.name, language)
        if not self._has_substitute or speech.weights.uri in self._loaded:
            return speech
        return speech_models.find_substitute(speech, language) or speech

    def _load(self, speech: SpeechSpec) -> "SpeechModel":
        from mmtui.pipeline.speech.transcription import SpeechModel

        if (loaded := self._loaded.get(speech.weights.uri)) is None:
            self._report("loading the speech model", 0, 1)
            loaded = SpeechModel(speech, fetch.fetch(speech.weights, self._report))
            self._loaded[speech.weights.uri] = loaded
            self._report("loading the speech model", 1, 1)
        return loaded
