"""`mmtui transcribe`, with the speech model of smol."""

import pytest
from command_line import assert_error

from mmtui.errors import MissingError
from mmtui.pipeline.assets import fetch, speech_models


def test_a_recording_is_transcribed(mmtui, smol, shared):
    speech = shared / "speech" / "LJ001-0012.wav"
    run = mmtui("transcribe", speech)
    assert "printing beautiful letters" in run.out
    result = mmtui("transcribe", speech, "--json").json
    assert list(result) == ["text", "language", "seconds"]
    assert (result["text"], result["language"]) == (run.out.strip(), "en")
    assert 8 < result["seconds"] < 9


def test_tiny_en_is_a_choice_for_english(mmtui, smol, shared, monkeypatch):
    speech = shared / "speech" / "LJ001-0012.wav"
    small = speech_models.find("tiny.en")
    try:
        fetch.fetch(small.weights)
    except MissingError as error:
        pytest.skip(f"tiny.en can't be fetched: {error}")
    monkeypatch.setenv("MMTUI_SPEECH", "tiny.en")
    result = mmtui("transcribe", speech, "--json").json
    assert "printing beautiful letters" in result["text"] and result["language"] == "en"
    refused = mmtui("transcribe", speech, "--language", "german")
    assert_error(refused, 2, "tiny.en does not know German")
    assert "base" in refused.err.splitlines()[-1]


def test_a_language_is_not_detected_but_used(mmtui, smol, shared):
    speech = shared / "speech" / "LJ001-0012.wav"
    run = mmtui("transcribe", speech, "--language", "Welsh", "--model", "smol")
    assert run.code == 0 and "language: Welsh" in run.err
    assert_error(mmtui("transcribe", speech, "--language", "welch"), 2, "no language 'welch'")


def test_a_file_without_speech_is_refused(mmtui, tmp_path, smol):
    (tmp_path / "empty.wav").touch()
    assert_error(mmtui("transcribe", tmp_path / "empty.wav"), 4, "empty.wav: the file is empty")
    (tmp_path / "x.mp3").write_bytes(b"no sound here")
    assert_error(mmtui("transcribe", tmp_path / "x.mp3"), 4, "x.mp3: this is not a recording")
    import wave

    for name, frames in (("zero.wav", b""), ("silence.wav", bytes(32_000))):
        with wave.open(str(tmp_path / name), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(frames)
    assert_error(mmtui("transcribe", tmp_path / "zero.wav"), 4, "zero.wav: the recording is empty")
    assert_error(mmtui("transcribe", tmp_path / "silence.wav"), 4, "silence.wav: no speech found")
    assert_error(mmtui("ask", "--audio", tmp_path / "silence.wav", "?"), 4, "no speech found")
