"""Evaluate speech recognition by the word error rate."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import jiwer

from mmtrain.data.skip_report import format_count
from mmtrain.data.transcripts import Recording, split_words
from mmtrain.evaluation.scores import Prediction, Scores
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.input_files import read_sound


def evaluate(assistant: Assistant, recordings: list[Recording], report: Report) -> Scores:
    """Score the transcripts of recordings, each of which has a reference with words.

    The word error rate is computed twice: without case and punctuation, and with Whisper's
    normalizer of English text, which published figures are computed with.
    """
    predictions = []
    incomplete: list[str] = []  # the first note about each recording that has notes
    for number, recording in enumerate(recordings):
        report("transcribing", number, len(recordings))
        sound = read_sound(recording.file)
        incomplete += sound.notes[:1]
        hypothesis = assistant.transcribe(sound.clip).text
        score = -error_rate([hypothesis], [recording.text])
        predictions.append(Prediction(recording.file.name, hypothesis, [recording.text], score))
    report("transcribing", len(recordings), len(recordings))
    hypotheses = [prediction.prediction for prediction in predictions]
    references = [recording.text for recording in recordings]
    rate = error_rate(hypotheses, references)
    notes = []
    if incomplete:
        count = format_count(len(incomplete), "recording")
        notes.append(f"{count} not transcribed completely, such as {incomplete[0]}")
    values = {
        "clips": len(recordings),
        "word_error_rate": rate,
        "word_error_rate_whisper": whisper_error_rate(hypotheses, references),
    }
    return Scores(values, predictions, notes)


def error_rate(hypotheses: list[str], references: list[str]) -> float:
    """Return the word error rate over all recordings; every reference must have words."""

    return _compute_error_rate(hypotheses, references, lambda text: " ".join(split_words(text)))


def whisper_error_rate(hypotheses: list[str], references: list[str]) -> float | None:
    """Return the word error rate with the normalizer of Whisper (arXiv:2212.04356, appendix C).

    It writes numbers as digits, expands contractions, uses American spelling and removes what is
    in brackets and words such as "hmm".

    Returns:
        The rate; None if no words remain in the references.
    """
    normalize = _load_normalizer()
    if not any(map(normalize, references)):
        return None
    return _compute_error_rate(hypotheses, references, normalize)


def _compute_error_rate(
    hypotheses: list[str], references: list[str], normalize: Callable[[str], str]
) -> float:
    return float(jiwer.wer(list(map(normalize, references)), list(map(normalize, hypotheses))))


@cache
def _load_normalizer() -> Callable[[str], str]:
    """Return Whisper's normalizer of English text."""
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    spelling = json.loads(Path(__file__).with_name("english_spelling.json").read_text("utf-8"))
    normalizer: Callable[[str], str] = EnglishTextNormalizer(spelling)
    return normalizer
