"""The languages of recordings in a chat: settings, status and notes."""

import numpy as np
import pytest

from mmtui.chat.config import Config
from mmtui.chat.protocol import Ready, Transcribed
from mmtui.errors import UsageError

CLIP = np.zeros(800, np.float32)


def transcribe(chat, text: str, language: str | None, *notes: str) -> None:
    chat.session.transcribe(CLIP, lambda _: None)
    chat.session.handle_event(Transcribed(chat.model.number, text, language, notes))


def load(chat, *languages: str) -> None:
    chat.session.load()
    chat.session.handle_event(Ready(chat.model.number, "smol", 2048, 25, None, languages=languages))


def test_the_language_of_the_settings_is_used(chat):
    transcribe(chat, "hello", "en")
    chat.session.configure(language="German")
    transcribe(chat, "hallo", "de")
    chat.session.load_speech()
    assert chat.model.languages == [None, "de"]


def test_the_status_has_the_language_of_the_last_words(chat):
    assert chat.session.status.spoken_language is None
    transcribe(chat, "hallo", "de")
    transcribe(chat, "", "fr")
    assert chat.session.status.spoken_language == "de"


def test_a_language_that_the_model_does_not_speak_is_told_once(chat):
    load(chat, "en")
    for _ in range(2):
        transcribe(chat, "hallo", "de")
    transcribe(chat, "hello", "en")
    assert chat.notices == ["smol speaks English only, and may not understand German"]
    load(chat)  # a model whose languages are unknown
    transcribe(chat, "bonjour", "fr")
    assert len(chat.notices) == 1


def test_it_is_told_when_the_model_is_loaded_after_the_recording(chat):
    transcribe(chat, "hallo", "de")
    assert not chat.notices
    load(chat, "en")
    assert len(chat.notices) == 1


def test_notes_about_the_speech_model_are_shown_once(chat):
    for _ in range(2):
        transcribe(chat, "hello", "en", "tiny.en transcribes")
    assert chat.notices == ["tiny.en transcribes"]


def test_invalid_languages_and_speech_models_are_refused(monkeypatch, tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('language = "germn"\nspeech = "huge"\n')
    with pytest.raises(UsageError) as error:
        Config.load(file)
    assert "line 1: language: Whisper knows no language 'germn'; de (German)" in str(error.value)
    assert "line 2: speech should be 'auto', 'base' or 'tiny.en'" in str(error.value)
    monkeypatch.setenv("MMTUI_LANGUAGE", "nederlands")
    with pytest.raises(UsageError, match="MMTUI_LANGUAGE: language: Whisper knows no language"):
        Config.load(tmp_path / "none")


def test_an_option_replaces_the_language_of_the_settings():
    config = Config(language="de")
    assert config.with_language(None) is config
    assert config.with_language("French").language == "fr"
    assert config.with_language("auto").language == "auto"
    with pytest.raises(UsageError, match="knows no language"):
        config.with_language("frnch")
