"""Questions asked of other pictures, with the answers that are likely there.

A few questions about each picture are soon learnt by heart, picture by picture. Asked of other
pictures too, with what a linear classifier of words and sight answers, they teach what is usual
and what depends on the picture.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import numpy as np

from mmtrain.data import llava
from mmtui.pipeline.assets.fetch import Report

FOLDS = 5  # a classifier answers what it did not learn: neither the question nor the picture
COMMON = 1000  # answers that may be likely
MOST = 20_000  # questions that are asked elsewhere
SEEN = 64  # numbers that say what is in a picture; fewer where there are not LEARNT pictures each
LEARNT = 8
SIGHT = 0.6  # the length of these; that of a question is 1


def asked_elsewhere(
    rows: Sequence[dict[str, Any]],
    times: int,
    look: Callable[[Sequence[str]], dict[str, np.ndarray]],
    chance: Random,
    report: Report,
) -> Iterator[dict[str, Any]]:
    """Rows of one picture and one short answer -> about as many on the same pictures, `times` over.

    Rows are as `mix` writes them. `look` gives features (width,) of pictures by their names; what
    it leaves out is not asked about. Answers that are given once are never likely.
    """
    rows = [row for row in rows if re.search(r"\w", _question(row))]
    known = {(_picture(row), _question(row)) for row in rows}
    counts = Counter(map(_answer, rows))
    common = {answer for answer, count in counts.most_common(COMMON) if count > 1}
    usual = [row for row in rows if _answer(row) in common]
    usual = chance.sample(usual, min(MOST, len(usual)))
    features = look(list(dict.fromkeys(_picture(row) for row in usual)))
    usual = [row for row in usual if _picture(row) in features]
    if len(features) < FOLDS or not usual:
        return
    from sklearn.model_selection import GroupKFold

    answers = np.array([_answer(row) for row in usual])
    questions = [_question(row) for row in usual]
    pictures = [_picture(row) for row in usual]
    words, sight = _words(questions), _sight(np.array(list(features.values())))
    seen = dict(zip(features, sight, strict=True))
    own = Counter(pictures)
    for fold, (learnt, asked) in enumerate(GroupKFold(FOLDS).split(usual, groups=pictures)):
        report("asking elsewhere", fold, FOLDS)
        numbers: list[int] = asked.tolist()
        pairs: dict[tuple[str, str], int] = {}
        for picture in dict.fromkeys(pictures[number] for number in numbers):
            for number in chance.sample(numbers, min(times * own[picture], len(numbers))):
                pairs[picture, questions[number]] = number
        pairs = {pair: number for pair, number in pairs.items() if pair not in known}
        if not pairs:
            continue
        told = _likely(
            (words[learnt], [seen[pictures[number]] for number in learnt]),
            answers[learnt],
            (words[list(pairs.values())], [seen[picture] for picture, _ in pairs]),
        )
        for (picture, question), answer in zip(pairs, told, strict=True):
            said = llava.format_exchange(f"<image>\n{question}", answer)
            yield {"image": [picture], "conversations": said}
    report("asking elsewhere", FOLDS, FOLDS)


def _likely(known: tuple[Any, Any], answers: np.ndarray, new: tuple[Any, Any]) -> list[str]:
    """Answers to (questions, pictures) after others, by support vectors."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.svm import LinearSVC

    if len(set(answers)) == 1:
        return [str(answers[0])] * new[0].shape[0]
    joined = [hstack([asked, csr_matrix(np.array(seen))]).tocsr() for asked, seen in (known, new)]
    classifier = LinearSVC(C=0.3, random_state=0).fit(joined[0], answers)
    told: list[str] = classifier.predict(joined[1]).tolist()
    return told


def _words(questions: Sequence[str]) -> Any:
    """Words and pairs of words of each question, as a sparse row of length 1."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    counted = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", sublinear_tf=True)
    return counted.fit_transform(questions)


def _sight(features: np.ndarray) -> np.ndarray:
    """(pictures, width) -> (pictures, at most SEEN), each of length SIGHT."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import normalize

    pictures, width = features.shape
    pca = PCA(max(1, min(SEEN, pictures // LEARNT, width)), whiten=True, random_state=0)
    lengthened: np.ndarray = SIGHT * normalize(pca.fit_transform(features))
    return lengthened


def _picture(row: dict[str, Any]) -> str:
    name: str = row["image"][0]
    return name


def _question(row: dict[str, Any]) -> str:
    asked: str = row["conversations"][0]["value"]
    return asked.removeprefix("<image>\n")


def _answer(row: dict[str, Any]) -> str:
    answered: str = row["conversations"][1]["value"]
    return answered
