"""The languages of Whisper, compared with the tables of transformers and faster-whisper."""

import pytest
from faster_whisper.tokenizer import _LANGUAGE_CODES
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

from mmtui.errors import UsageError
from mmtui.pipeline.speech.languages import (
    LANGUAGES,
    describe_mismatch,
    find_code,
    get_name,
    is_language,
    parse_language,
)


def test_the_languages_are_those_of_whisper():
    assert set(LANGUAGES) == set(_LANGUAGE_CODES)
    assert {name: find_code(name) for name in TO_LANGUAGE_CODE} == TO_LANGUAGE_CODE


def test_codes_and_names_are_accepted_in_any_case():
    for text in ("de", "DE", "german", " German "):
        assert parse_language(text) == "de" and is_language(text)
    assert parse_language("Haitian Creole") == parse_language("haitian") == "ht"
    assert parse_language("auto") is None and is_language("AUTO")
    assert get_name("de") == "German" and get_name("xx") == "xx"


@pytest.mark.parametrize(
    ("text", "hint"),
    [("germn", "de (German)"), ("klingon", "auto detects it"), ("", "auto detects it")],
)
def test_other_texts_are_refused_with_what_is_similar(text, hint):
    assert not is_language(text)
    with pytest.raises(UsageError, match="Whisper knows no language") as error:
        parse_language(text)
    assert hint in error.value.hint


def test_a_language_that_the_model_does_not_speak_is_described():
    note = "smol speaks English only, and may not understand German"
    assert describe_mismatch("smol", ("en",), "de") == note
    assert describe_mismatch("smol", ("en",), "en") is None
    assert describe_mismatch("phi9", (), "de") is None
    assert describe_mismatch("smol", ("en",), None) is None
