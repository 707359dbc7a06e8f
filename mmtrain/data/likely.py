"""Questions asked of other pictures, with the answers that are likely whatever a picture shows.

A few questions about each picture are soon learnt by heart, picture by picture. Asked of other
pictures too, they teach what is usual, as a linear classifier of their words tells it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import numpy as np

from mmtrain.data import llava

FOLDS = 5  # a question is answered by a classifier that learnt from other pictures
COMMON = 1000  # answers that may be likely
MOST = 20_000  # questions that are asked elsewhere


def asked_elsewhere(
    rows: Sequence[dict[str, Any]], times: int, chance: Random
) -> Iterator[dict[str, Any]]:
    """Rows of one picture and one short answer -> as many about the same pictures, `times` over.

    Rows are as `mix` writes them. Each picture is asked as many questions as it has.
    """
    common = dict(Counter(_answer(row) for row in rows).most_common(COMMON))
    usual = [row for row in rows if _answer(row) in common][:MOST]
    pictures: defaultdict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(usual):
        pictures[row["image"][0]].append(number)
    if not times or len(pictures) < FOLDS:
        return
    answers = _likely(usual)
    for _ in range(times):
        for picture, own in pictures.items():
            asked = {_question(usual[number]) for number in own}
            for number in chance.sample(range(len(usual)), len(own)):
                if _question(usual[number]) not in asked:
                    said = llava.exchange(_question(usual[number]), answers[number])
                    yield {"image": [picture], "conversations": said}


def _likely(rows: Sequence[dict[str, Any]]) -> list[str]:
    """An answer for each question, by support vectors on its words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", sublinear_tf=True)
    questions = np.array([_question(row).removeprefix("<image>\n") for row in rows])
    answers = np.array([_answer(row) for row in rows])
    pictures = [row["image"][0] for row in rows]
    likely = answers.copy()
    for learnt, asked in GroupKFold(FOLDS).split(questions, groups=pictures):
        if len(set(answers[learnt])) > 1:
            classifier = make_pipeline(words, LinearSVC(C=0.3, random_state=0))
            likely[asked] = classifier.fit(questions[learnt], answers[learnt]).predict(
                questions[asked]
            )
        else:
            likely[asked] = answers[learnt[0]]
    told: list[str] = likely.tolist()
    return told


def _question(row: dict[str, Any]) -> str:
    asked: str = row["conversations"][0]["value"]
    return asked


def _answer(row: dict[str, Any]) -> str:
    answered: str = row["conversations"][1]["value"]
    return answered
