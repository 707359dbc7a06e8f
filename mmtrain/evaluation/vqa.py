"""Questions about pictures: exact match, mention and VQA accuracy."""

from collections import defaultdict
from collections.abc import Iterable

from mmtrain.data.dataset import Content
from mmtrain.data.vqa import Question
from mmtrain.evaluation.normalization import normalize
from mmtrain.evaluation.scores import Prediction, Scores
from mmtrain.model.generation import AnswerGenerator
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.prompt import Role

COMMON = 20  # questions of a kind whose accuracy is reported on its own


def evaluate(
    generator: AnswerGenerator, questions: list[Question], batch: int, report: Report
) -> Scores:
    """Score a model on questions whose pictures can be read.

    A reply mentions an answer if the words of the answer are in it, and no wrong answer is.
    """
    answers = _generate_answers(generator, questions, batch, report)
    predictions, exact, mentioned, accuracy = [], 0, 0, 0.0
    for number, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        given = normalize(answer)
        references = [normalize(reference) for reference in question.answers]
        matches = [given == reference for reference in references]
        exact += any(matches)
        mentioned += _mentions(given, references) and not _mentions(
            given, map(normalize, question.wrong)
        )
        score = vqa_accuracy(matches)
        accuracy += score
        predictions.append(
            Prediction(
                f"{question.all_pictures[0].name}#{number}",
                answer,
                list(question.answers),
                score,
                question.all_pictures[0],
                question.text,
            )
        )
    count = len(questions)
    values: dict[str, float | int | None] = {
        "questions": count,
        "exact_match": exact / count,
        "mentioned": mentioned / count,
        "vqa_accuracy": accuracy / count,
        **_yes_rate(predictions),
        **_by_kind(predictions),
    }
    return Scores(values, predictions)


def _generate_answers(
    generator: AnswerGenerator, questions: list[Question], batch: int, report: Report
) -> list[str]:
    """Return the replies to the questions, after the model's replies to earlier messages."""
    dialogues: list[list[tuple[Role, Content]]] = [[] for _ in questions]
    answers = [""] * len(questions)
    messages = [(*question.earlier, question) for question in questions]
    for turn in range(max(map(len, messages), default=0)):
        asked = [number for number, turns in enumerate(messages) if turn < len(turns)]
        for number in asked:
            message = messages[number][turn]
            dialogues[number].append(("user", (*message.pictures, message.text)))
        replies = generator.generate([dialogues[n] for n in asked], batch, report=report)
        for number, reply in zip(asked, replies, strict=True):
            dialogues[number].append(("assistant", (reply,)))
            answers[number] = reply
    return answers


def _mentions(reply: str, answers: Iterable[str]) -> bool:
    return any(f" {answer} " in f" {reply} " for answer in answers)


def _yes_rate(predictions: list[Prediction]) -> dict[str, float]:
    """How often the answer to a yes-or-no question is yes, where there are such (POPE)."""
    asked = [p for p in predictions if {*map(normalize, p.references)} in ({"yes"}, {"no"})]
    yes = [p for p in asked if normalize(p.prediction).startswith("yes")]
    return {"yes_rate": len(yes) / len(asked)} if asked else {}


def _by_kind(predictions: list[Prediction]) -> dict[str, float]:
    """The accuracy by the first two words of the questions, where they are common."""
    kinds = defaultdict(list)
    for prediction in predictions:
        words = (prediction.question or "").lower().split()
        kinds[" ".join(words[:2])].append(prediction.score or 0.0)
    common = {kind: scores for kind, scores in kinds.items() if len(scores) >= COMMON}
    return {f'"{kind} ..."': sum(common[kind]) / len(common[kind]) for kind in sorted(common)}


def vqa_accuracy(matches: list[bool]) -> float:
    """Return the VQA accuracy (arXiv:1505.00468) of an answer.

    It is min(matches / 3, 1), averaged over leaving out each reference. With a single reference
    it is 1 or 0.

    Args:
        matches: Whether each reference equals the answer.
    """
    if len(matches) == 1:
        return float(matches[0])
    total = sum(matches)
    return sum(min((total - match) / 3, 1.0) for match in matches) / len(matches)
