"""Speech synthesis in its process, with hibari and espeak-ng, and sound files."""

import io
import shutil
from collections.abc import Iterator

import av
import numpy as np
import pytest

from mmtui.errors import MissingError, UsageError
from mmtui.pipeline.speech.sound_file import FORMATS, SoundWriter, check_suffix
from mmtui.pipeline.speech.spoken_text import Sentence
from mmtui.pipeline.speech.synthesis import RATE, SynthesizerProcess

HELLO = Sentence("Hello, how are you today?", "en")


@pytest.fixture(scope="module")
def synthesizer() -> Iterator[SynthesizerProcess]:
    process = SynthesizerProcess()
    process.start()
    yield process
    process.close()


def count_seconds(samples: bytes) -> float:
    return len(samples) / 2 / RATE


def test_a_sentence_becomes_speech(synthesizer):
    samples = synthesizer.synthesize(HELLO, "heart")
    assert 1 < count_seconds(samples) < 4
    level = np.abs(np.frombuffer(samples, "<i2").astype(float)).max()
    assert 3000 < level <= 32767
    assert samples == synthesizer.synthesize(HELLO, "heart")


def test_speed_changes_the_duration(synthesizer):
    slow, fast = (count_seconds(synthesizer.synthesize(HELLO, "heart", s)) for s in (0.5, 2.0))
    assert slow > 2 * fast


def test_a_text_without_words_is_silent(synthesizer):
    assert synthesizer.synthesize(Sentence("你好", "en"), "heart") == b""


def test_errors_do_not_end_the_process(synthesizer, monkeypatch):
    with pytest.raises(UsageError, match="no voice 'loud'") as usage:
        synthesizer.synthesize(HELLO, "loud")
    assert "heart" in str(usage.value.hint)
    monkeypatch.setenv("HIBARI_HOME", "/nonexistent")
    other = SynthesizerProcess()
    with pytest.raises(MissingError, match="the voice emma is not on this machine") as missing:
        other.synthesize(HELLO, "emma")
    assert "hibari --voice emma" in str(missing.value.hint)
    assert other.synthesize(HELLO, "heart")
    other.close()


def test_a_crash_is_reported_and_the_next_sentence_starts_another_process(synthesizer):
    synthesizer._process.kill()
    synthesizer._process.wait()
    assert synthesizer.synthesize(HELLO, "heart")


def test_nothing_is_started_after_the_end():
    process = SynthesizerProcess()
    process.close()
    process.start()
    with pytest.raises(MissingError, match="the voice was closed"):
        process.synthesize(HELLO, "heart")
    assert process._process is None


def test_espeak_reads_other_languages(synthesizer):
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    german = synthesizer.synthesize(Sentence("Guten Tag, wie geht es Ihnen?", "de"), "heart")
    assert 1 < count_seconds(german) < 4
    assert count_seconds(synthesizer.synthesize(HELLO, "espeak:en-gb")) > 0.5
    with pytest.raises(MissingError, match="espeak-ng can't read xx aloud"):
        synthesizer.synthesize(HELLO, "espeak:xx")


def test_a_missing_espeak_is_named_with_the_language(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    process = SynthesizerProcess()
    with pytest.raises(MissingError, match="German is read aloud by espeak-ng, which is not"):
        process.synthesize(Sentence("Guten Tag", "de"), "heart")
    process.close()


# AAC has 1024 samples of silence at its start, and ends with a whole frame.
@pytest.mark.parametrize("suffix", [name for name in FORMATS if name != ".aac"])
def test_speech_is_written_to_a_file(suffix, tmp_path):
    path = tmp_path / f"speech{suffix}"
    tone = (np.sin(np.arange(RATE) / 10) * 9000).astype("<i2").tobytes()
    with SoundWriter(path, suffix, RATE) as writer:
        for start in range(0, len(tone), 9998):
            writer.write(tone[start : start + 9998])
    with av.open(io.BytesIO(path.read_bytes())) as file:
        seconds = sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))
    assert seconds == pytest.approx(1, abs=0.01)


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"speech\.txt: sound is not written in this format"):
        check_suffix(tmp_path / "speech.txt")
