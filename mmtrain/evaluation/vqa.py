"""Questions about pictures: exact match, mention and VQA accuracy, normalized as usual."""

import re
from collections import defaultdict
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from mmtrain.answering import Answerer
from mmtrain.evaluation.scores import Prediction, Scores
from mmtrain.parts import Parts
from mmtui.errors import InputError
from mmtui.pipeline.assets import Report

# From the evaluation of the VQA challenge (arXiv:1505.00468, https://visualqa.org/evaluation.html).
_NUMBERS = dict(
    zip(
        [
            "none",
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
        ],
        ["0", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"],
        strict=True,
    )
)
COMMON = 20  # questions of a kind that is told by itself
_ARTICLES = {"a", "an", "the"}
_CONTRACTIONS = {
    word.replace("'", ""): word
    for word in [
        "ain't",
        "aren't",
        "can't",
        "couldn't",
        "didn't",
        "doesn't",
        "don't",
        "hadn't",
        "hasn't",
        "haven't",
        "he's",
        "how's",
        "i'm",
        "isn't",
        "it's",
        "let's",
        "mustn't",
        "shan't",
        "she's",
        "shouldn't",
        "that's",
        "there's",
        "they're",
        "they've",
        "wasn't",
        "we've",
        "weren't",
        "what's",
        "where's",
        "who's",
        "won't",
        "wouldn't",
        "you're",
        "you've",
    ]
    if word.replace("'", "") not in {"wont", "lets", "hes", "shes"}
}


class _Item(BaseModel):
    image: str
    question: str
    answer: str | None = None
    answers: list[str] | None = None  # of several people, as in VQA


def evaluate(
    parts: Parts, answerer: Answerer, data: Path, limit: int | None, batch: int, report: Report
) -> Scores:
    """`data` holds questions.json, [{"image", "question", "answer" or "answers"}], and images/.

    Raises InputError for another layout.
    """
    items = _read(data)[:limit]
    pictures = [data / "images" / item.image for item in items]
    assert parts.store is not None
    parts.store.require(pictures)
    questions = [
        [("user", (picture, item.question))] for picture, item in zip(pictures, items, strict=True)
    ]
    said = answerer.answer(questions, batch, report=report)  # type: ignore[arg-type]
    predictions, exact, mentioned, accuracy = [], 0, 0, 0.0
    for number, (item, picture, answer) in enumerate(zip(items, pictures, said, strict=True)):
        references = item.answers or [item.answer or ""]
        matches = [normalized(answer) == normalized(reference) for reference in references]
        exact += any(matches)
        mentioned += any(f" {normalized(r)} " in f" {normalized(answer)} " for r in references)
        score = vqa_accuracy(matches)
        accuracy += score
        name = f"{item.image}#{number}"
        predictions.append(Prediction(name, answer, references, score, picture, item.question))
    count = len(items)
    values: dict[str, float | int] = {
        "questions": count,
        "exact_match": exact / count,
        "mentioned": mentioned / count,
        "vqa_accuracy": accuracy / count,
        **_yes_rate(predictions),
        **_by_kind(predictions),
    }
    return Scores(values, predictions)


def _yes_rate(predictions: list[Prediction]) -> dict[str, float]:
    """How often the answer to a yes-or-no question is yes, where there are such (POPE)."""
    asked = [p for p in predictions if p.references in (["yes"], ["no"])]
    yes = [p for p in asked if normalized(p.prediction).startswith("yes")]
    return {"yes_rate": len(yes) / len(asked)} if asked else {}


def _by_kind(predictions: list[Prediction]) -> dict[str, float]:
    """The accuracy by the first two words of the questions, where they are common."""
    kinds = defaultdict(list)
    for prediction in predictions:
        words = (prediction.question or "").lower().split()
        kinds[" ".join(words[:2])].append(prediction.score)
    common = {kind: scores for kind, scores in kinds.items() if len(scores) >= COMMON}
    return {f'"{kind} ..."': sum(common[kind]) / len(common[kind]) for kind in sorted(common)}


def vqa_accuracy(matches: list[bool]) -> float:
    """Of an answer that these people gave, or not: right if three others of them did.

    The mean over leaving each one out; with a single reference, whether it matches.
    """
    if len(matches) == 1:
        return float(matches[0])
    total = sum(matches)
    return sum(min((total - match) / 3, 1.0) for match in matches) / len(matches)


def normalized(answer: str) -> str:
    """Lower case, without articles and punctuation, numbers as digits, contractions whole."""
    text = answer.lower().replace("\n", " ").strip()
    text = re.sub(r"(?<=\d),(?=\d)", "", text)  # 1,000
    text = re.sub(r"(?<!\d)\.|\.(?!\d)", " ", text)  # a decimal point stays
    text = re.sub(r"[^\w\s.':$%-]|_", " ", text)
    text = re.sub(r"[:-]", " ", text)
    words = [_NUMBERS.get(word, word) for word in text.split() if word not in _ARTICLES]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words)


def _read(data: Path) -> list[_Item]:
    file = data / "questions.json"
    try:
        items = TypeAdapter(list[_Item]).validate_json(file.read_bytes())
    except OSError as error:
        raise InputError(
            f"{file} can't be read: {error.strerror}", "the layout is questions.json beside images/"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{file} is no list of questions: {where} {first['msg']}") from None
    items = [item for item in items if item.answer or item.answers]
    if not items:
        raise InputError(f"{file} holds no question with an answer")
    for item in items:
        if Path(item.image).is_absolute() or ".." in Path(item.image).parts:
            raise InputError(f"{file}: the image {item.image!r} leads out of the data")
    return items
