"""Speech: the word error rate of a model's recognition."""

import jiwer

from mmtrain.data.transcripts import Recording, words
from mmtrain.evaluation.scores import Prediction, Scores
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.input_files import read_sound


def evaluate(assistant: Assistant, recordings: list[Recording], report: Report) -> Scores:
    """Score a model on recordings in each of which a word is said.

    Case and punctuation do not count.
    """
    predictions = []
    noted: list[str] = []  # the first note of each recording that has any
    for number, recording in enumerate(recordings):
        report("listening", number, len(recordings))
        sound = read_sound(recording.file)
        noted += sound.notes[:1]
        heard = assistant.transcribe(sound.clip).text
        score = -error_rate([heard], [recording.text])
        predictions.append(Prediction(recording.file.name, heard, [recording.text], score))
    report("listening", len(recordings), len(recordings))
    heard_all = [prediction.prediction for prediction in predictions]
    rate = error_rate(heard_all, [recording.text for recording in recordings])
    notes = [f"of {len(noted)} recordings not all is heard, such as {noted[0]}"] if noted else []
    return Scores({"clips": len(recordings), "word_error_rate": rate}, predictions, notes)


def error_rate(heard: list[str], said: list[str]) -> float:
    """Wrong words in relation to the words said, over all clips; each must have words."""
    return float(jiwer.wer(*([" ".join(words(text)) for text in texts] for texts in (said, heard))))
