"""Evaluate speech recognition by the word error rate."""

import jiwer

from mmtrain.data.skip_report import format_count
from mmtrain.data.transcripts import Recording, split_words
from mmtrain.evaluation.scores import Prediction, Scores
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.input_files import read_sound


def evaluate(assistant: Assistant, recordings: list[Recording], report: Report) -> Scores:
    """Score the transcripts of recordings, each of which has a reference with words.

    Case and punctuation are ignored.
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
    rate = error_rate(hypotheses, [recording.text for recording in recordings])
    notes = []
    if incomplete:
        count = format_count(len(incomplete), "recording")
        notes.append(f"{count} not transcribed completely, such as {incomplete[0]}")
    return Scores({"clips": len(recordings), "word_error_rate": rate}, predictions, notes)


def error_rate(hypotheses: list[str], references: list[str]) -> float:
    """Return the word error rate over all recordings; every reference must have words."""

    def normalize(texts: list[str]) -> list[str]:
        return [" ".join(split_words(text)) for text in texts]

    return float(jiwer.wer(normalize(references), normalize(hypotheses)))
