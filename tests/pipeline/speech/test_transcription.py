"""Transcription of real speech, compared with WhisperX, and of silence and noise."""

import time
import wave
from pathlib import Path

import numpy as np
import pytest
import whisperx

from mmtrain.evaluation.speech import error_rate
from mmtui.pipeline.assets import fetch
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.input_files import read_clip
from mmtui.pipeline.speech.clip import RATE
from mmtui.pipeline.speech.sound import is_silent


@pytest.fixture(scope="module")
def assistant(smol) -> Assistant:
    return Assistant(smol)


@pytest.fixture(scope="module")
def clips(shared: Path) -> dict[Path, str]:
    lines = (shared / "speech" / "transcripts.tsv").read_text().splitlines()
    return {shared / "speech" / name: text for name, text in (line.split("\t") for line in lines)}


def test_word_error_rate_is_no_worse_than_whisperx_called_directly(assistant, smol, clips):
    ours = [assistant.transcribe(read_clip(path)).text for path in clips]

    folder = fetch.locate(smol.spec.speech.weights)
    model = whisperx.load_model(str(folder), "cpu", compute_type="int8", language="en")
    theirs = []
    for path in clips:
        with wave.open(str(path)) as file:  # 16 kHz, mono, 16 bits
            samples = np.frombuffer(file.readframes(15 * RATE), np.int16).astype(np.float32) / 32768
        segments = model.transcribe(samples, batch_size=1)["segments"]
        theirs.append(" ".join(segment["text"].strip() for segment in segments))

    transcripts = list(clips.values())
    rate, direct = error_rate(ours, transcripts), error_rate(theirs, transcripts)
    print(f"word error rate {rate:.3f}, whisperx directly {direct:.3f}")
    # WhisperX cuts a clip where nobody speaks, which changes a word or two of all of them.
    two_words = 2 / sum(len(transcript.split()) for transcript in transcripts)
    assert rate <= direct + two_words
    assert rate < 0.12


@pytest.mark.perf
def test_15_seconds_take_less_than_3_after_load(assistant, clips):
    longest = max((read_clip(path) for path in clips), key=len)
    clip = np.pad(longest, (0, 15 * RATE - len(longest)), mode="wrap")
    assistant.transcribe(clip)
    start = time.perf_counter()
    transcript = assistant.transcribe(clip)
    duration = time.perf_counter() - start
    print(f"15 s of speech in {duration:.2f} s")
    assert transcript.text and transcript.seconds == 15
    assert duration < 3


def test_silence_is_detected_without_loading_a_model(smol):
    quiet = Assistant(smol)
    hush = np.random.default_rng(0).normal(0, 2e-4, 3 * RATE).astype(np.float32)
    for clip in (np.zeros(RATE, np.float32), hush, np.zeros(7, np.float32)):
        assert is_silent(clip)
        assert quiet.transcribe(clip).text == ""
    assert not quiet.transcriber.is_loaded


def test_noise_and_tones_have_no_transcript(assistant):
    generator = np.random.default_rng(1)
    time_s = np.arange(3 * RATE) / RATE
    hum = sum(np.sin(2 * np.pi * 150 * k * time_s) / k for k in (1, 2, 3, 5))
    breath = np.convolve(generator.normal(0, 0.2, 3 * RATE), np.ones(4) / 4, "same")
    for clip in (
        generator.normal(0, 0.02, RATE),
        0.2 * generator.normal(0, 1, 3 * RATE),
        0.05 * np.sin(2 * np.pi * 50 * time_s),
        0.5 * np.sin(2 * np.pi * 100 * time_s[:400]),  # 25 ms, which Whisper transcribes as "you"
        0.5 * np.sin(2 * np.pi * 220 * time_s[: RATE // 2]),
        0.25 * hum * np.sin(np.pi * time_s / 3) ** 2,
        0.25 * hum[:RATE] * np.sin(np.pi * time_s[:RATE]) ** 2,
        0.25 * hum * (0.5 - 0.5 * np.cos(2 * np.pi * 0.7 * time_s)),
        breath * np.sin(np.pi * time_s * 1.2) ** 2,
    ):
        assert not is_silent(clip)
        assert assistant.transcribe(clip.astype(np.float32)).text == ""


def test_single_words_and_noisy_sentences_are_transcribed(assistant, clips):
    generator = np.random.default_rng(2)
    for path in list(clips)[:3]:
        clip = read_clip(path)
        noise = generator.normal(0, np.sqrt(np.square(clip).mean() / 10), len(clip))
        assert len(assistant.transcribe((clip + noise).astype(np.float32)).text.split()) > 4
        assert assistant.transcribe(clip * np.float32(0.03)).text
        assert assistant.transcribe(clip[RATE // 2 : RATE * 3 // 2]).text
