"""Speech: the word error rate of a model's recognition."""

from pathlib import Path

import jiwer

from mmtrain.evaluation.scores import Prediction, Scores
from mmtui.chat.attachments import read_clip
from mmtui.errors import InputError
from mmtui.pipeline.assets import Report
from mmtui.pipeline.assistant import Assistant

WORDS = jiwer.Compose(
    [
        jiwer.ToLowerCase(),
        jiwer.SubstituteRegexes({r"[^\w\s']": " "}),
        jiwer.RemoveMultipleSpaces(),
        jiwer.Strip(),
        jiwer.ReduceToListOfListOfWords(),
    ]
)


def evaluate(assistant: Assistant, data: Path, limit: int | None, report: Report) -> Scores:
    """`data` holds sound files and transcripts.tsv: a file's name, a tab, what is said.

    Case and punctuation do not count. Raises InputError for another layout.
    """
    said = _read(data)[:limit]
    predictions = []
    for number, (file, text) in enumerate(said):
        report("listening", number, len(said))
        heard = assistant.transcribe(read_clip(file)).text
        predictions.append(Prediction(file.name, heard, [text], -error_rate([heard], [text])))
    report("listening", len(said), len(said))
    heard_all = [prediction.prediction for prediction in predictions]
    rate = error_rate(heard_all, [text for _, text in said])
    return Scores({"clips": len(said), "word_error_rate": rate}, predictions)


def error_rate(heard: list[str], said: list[str]) -> float:
    """Wrong words in relation to the words said, over all clips."""
    return float(jiwer.wer(said, heard, reference_transform=WORDS, hypothesis_transform=WORDS))


def _read(data: Path) -> list[tuple[Path, str]]:
    file = data / "transcripts.tsv"
    try:
        lines = [line for line in file.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file} can't be read: {error}", "the layout is sound files beside transcripts.tsv"
        ) from error
    pairs = [line.partition("\t") for line in lines]
    if not pairs or not all(WORDS(text)[0] for _, _, text in pairs):
        raise InputError(f"{file} must have lines of a file's name, a tab and what is said")
    return [(data / Path(name).name, text) for name, _, text in pairs]
