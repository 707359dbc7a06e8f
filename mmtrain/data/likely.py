"""Questions asked of other pictures, with the answers that are likely there.

A few questions about each picture are soon learnt by heart, picture by picture. Asked of other
pictures too, with what a linear classifier of words and sight answers, they teach what is usual
and what depends on the picture.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import numpy as np

from mmtrain.data import llava

FOLDS = 5  # a classifier answers what it did not learn: neither the question nor the picture
COMMON = 1000  # answers that may be likely
MOST = 20_000  # questions that are asked elsewhere
SEEN = 64  # numbers that say what is in a picture
SIGHT = 0.6  # the length of these; that of a question is 1


def asked_elsewhere(
    rows: Sequence[dict[str, Any]],
    times: int,
    features: dict[str, np.ndarray],
    chance: Random,
) -> Iterator[dict[str, Any]]:
    """Rows of one picture and one short answer -> as many about the same pictures, `times` over.

    Rows are as `mix` writes them; `features` (width,) are of pictures, by their names. Rows of
    other pictures are passed over.
    """
    rows = [row for row in rows if _picture(row) in features]
    common = dict(Counter(_answer(row) for row in rows).most_common(COMMON))
    usual = [row for row in rows if _answer(row) in common][:MOST]
    own: defaultdict[str, set[str]] = defaultdict(set)
    for row in usual:
        own[_picture(row)].add(_question(row))
    if len(own) < FOLDS:
        return
    from sklearn.model_selection import GroupKFold

    words, sight = _words(usual), _sight(np.array(list(features.values())))
    seen = dict(zip(features, sight, strict=True))
    answers = np.array([_answer(row) for row in usual])
    pictures = [_picture(row) for row in usual]
    for learnt, asked in GroupKFold(FOLDS).split(usual, groups=pictures):
        pairs = [
            (picture, number)
            for picture in dict.fromkeys(pictures[number] for number in asked)
            for _ in range(times)
            for number in chance.sample(list(asked), min(len(own[picture]), len(asked)))
            if _question(usual[number]) not in own[picture]
        ]
        if not pairs:
            continue
        known = words[learnt], [seen[pictures[number]] for number in learnt]
        new = words[[number for _, number in pairs]], [seen[picture] for picture, _ in pairs]
        for (picture, number), answer in zip(
            pairs, _likely(known, answers[learnt], new), strict=True
        ):
            said = llava.exchange(_question(usual[number]), answer)
            yield {"image": [picture], "conversations": said}


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


def _words(rows: Sequence[dict[str, Any]]) -> Any:
    """Words and pairs of words of each question, as a sparse row of length 1."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    counted = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", sublinear_tf=True)
    return counted.fit_transform([_question(row).removeprefix("<image>\n") for row in rows])


def _sight(features: np.ndarray) -> np.ndarray:
    """(pictures, width) -> (pictures, at most SEEN), each of length SIGHT."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import normalize

    pca = PCA(min(SEEN, *features.shape), whiten=True, random_state=0)
    lengthened: np.ndarray = SIGHT * normalize(pca.fit_transform(features))
    return lengthened


def _picture(row: dict[str, Any]) -> str:
    name: str = row["image"][0]
    return name


def _question(row: dict[str, Any]) -> str:
    asked: str = row["conversations"][0]["value"]
    return asked


def _answer(row: dict[str, Any]) -> str:
    answered: str = row["conversations"][1]["value"]
    return answered
