"""Which speech model transcribes: base, or tiny.en while base is not on this machine."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mmtui.errors import MissingError, UsageError
from mmtui.pipeline.assets import checkpoint, fetch, speech_models
from mmtui.pipeline.assets.fetch import ignore_progress
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec, SpeechChoice, SpeechSpec
from mmtui.pipeline.speech import transcription
from mmtui.pipeline.speech.clip import RATE
from mmtui.pipeline.speech.transcriber import Transcriber
from mmtui.pipeline.speech.transcription import Transcript

CLIP = 0.1 * np.random.default_rng(0).normal(0, 1, RATE).astype(np.float32)
SPEC = checkpoint.read(checkpoint.SHIPPED / "smol").spec


class FakeSpeechModel:
    """Returns its name and the language that it is called with."""

    def __init__(self, spec: SpeechSpec, folder: Path) -> None:
        self._spec = spec

    def transcribe(self, clip: np.ndarray, language: str | None) -> Transcript:
        return Transcript(self._spec.name, language or self._spec.language, len(clip) / RATE)


@pytest.fixture
def present(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The URIs of the weights that are on this machine; fetching others adds them."""
    uris: set[str] = set()

    def fetch_asset(asset: Asset, report: object) -> Path:
        uris.add(asset.uri)
        return Path(asset.uri)

    monkeypatch.setattr(
        fetch, "locate", lambda asset: Path(asset.uri) if asset.uri in uris else None
    )
    monkeypatch.setattr(fetch, "fetch", fetch_asset)
    monkeypatch.setattr(transcription, "SpeechModel", FakeSpeechModel)
    return uris


def get_uri(name: SpeechChoice) -> str:
    return speech_models.find(name).weights.uri


def make_transcriber(choice: SpeechChoice = "auto", spec: ModelSpec = SPEC) -> Transcriber:
    return Transcriber(speech_models.choose(spec, choice), choice, ignore_progress)


def test_base_is_the_default_and_is_fetched(present):
    transcriber = make_transcriber()
    assert transcriber.transcribe(CLIP) == Transcript("base", None, 1)
    assert present == {get_uri("base")}
    assert transcriber.transcribe(CLIP, "de") == Transcript("base", "de", 1)


def test_tiny_en_is_used_with_a_note_until_base_is_here(present):
    present.add(get_uri("tiny.en"))
    transcriber = make_transcriber()
    transcriber.load()
    transcript = transcriber.transcribe(CLIP)
    assert (transcript.text, transcript.language) == ("tiny.en", "en")
    (note,) = transcript.notes
    assert "`mmtui pull smol` fetches base (133 MB)" in note
    assert present == {get_uri("tiny.en")}

    present.add(get_uri("base"))
    assert transcriber.transcribe(CLIP) == Transcript("base", None, 1)


def test_another_language_fetches_base(present):
    present.add(get_uri("tiny.en"))
    assert make_transcriber().transcribe(CLIP, "de") == Transcript("base", "de", 1)


def test_a_choice_is_used_and_fetched(present):
    assert make_transcriber("tiny.en").transcribe(CLIP) == Transcript("tiny.en", "en", 1)
    assert make_transcriber("base").transcribe(CLIP).text == "base"
    phi2 = checkpoint.read(checkpoint.SHIPPED / "phi2").spec
    assert make_transcriber(spec=phi2).transcribe(CLIP).text == "small"
    assert make_transcriber("base", phi2).transcribe(CLIP).text == "base"


def test_tiny_en_refuses_other_languages_before_it_is_loaded(present):
    transcriber = make_transcriber("tiny.en")
    for clip in (CLIP, np.zeros(RATE, np.float32)):
        with pytest.raises(UsageError, match=r"tiny\.en does not know German") as error:
            transcriber.transcribe(clip, "de")
        assert 'speech = "base"' in error.value.hint
    assert not transcriber.is_loaded and not present


def test_a_model_without_speech_can_get_one_by_the_settings(present):
    mute = ModelSpec("mute", LanguageSpec(Asset("language")))
    make_transcriber(spec=mute).load()  # nothing to load
    with pytest.raises(MissingError, match="mute has no speech model"):
        make_transcriber(spec=mute).transcribe(CLIP)
    assert make_transcriber("base", mute).transcribe(CLIP).text == "base"


def test_checkpoints_with_the_former_speech_model_keep_it(present):
    tiny = speech_models.find("tiny.en")
    former = dataclasses.replace(tiny, name="", languages=())  # as smol was until version 0.1
    spec = dataclasses.replace(SPEC, speech=former)
    assert make_transcriber(spec=spec).transcribe(CLIP) == Transcript("", "en", 1)
    assert present == {get_uri("tiny.en")}
