"""Pseudo-labels: questions about other pictures, answered by a linear classifier.

A model memorizes a few questions about each picture. Asked about other pictures too, with the
answers that a classifier of words and image features predicts, they teach which answers are usual
and which depend on the picture.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import numpy as np

from mmtrain.data import llava
from mmtui.pipeline.assets.fetch import Report

FOLDS = 5  # a classifier labels only pictures and questions that it was not fitted on
MAX_ANSWERS = 1000  # the most frequent answers are the classes
MAX_QUESTIONS = 20_000
MAX_COMPONENTS = 64  # of the image features after PCA
PICTURES_PER_COMPONENT = 8  # at least, so that PCA does not overfit a small set
IMAGE_WEIGHT = 0.6  # L2 norm of the image features of a row; that of the question is 1

FeatureLoader = Callable[[Sequence[str]], dict[str, np.ndarray]]


def generate_pseudo_labels(
    rows: Sequence[dict[str, Any]],
    factor: int,
    load_features: FeatureLoader,
    rng: Random,
    report: Report,
) -> Iterator[dict[str, Any]]:
    """Yield rows with the questions of `rows` asked about other pictures of the set.

    Args:
        rows: LLaVA-Instruct rows of one picture, one question and a short answer.
        factor: How many rows to yield for each row, about; pairs that are known are left out.
        load_features: Returns the features (width,) of pictures by name. Pictures that it leaves
            out are not asked about.
        rng: Decides which questions are asked about which pictures.
        report: Called with the progress.
    """
    rows = [row for row in rows if re.search(r"\w", _question(row))]
    known_pairs = {(_picture(row), _question(row)) for row in rows}
    counts = Counter(map(_answer, rows))
    classes = {answer for answer, count in counts.most_common(MAX_ANSWERS) if count > 1}
    usable = [row for row in rows if _answer(row) in classes]
    usable = rng.sample(usable, min(MAX_QUESTIONS, len(usable)))
    features = load_features(list(dict.fromkeys(_picture(row) for row in usable)))
    usable = [row for row in usable if _picture(row) in features]
    if len(features) < FOLDS or not usable:
        return
    from sklearn.model_selection import GroupKFold

    answers = np.array([_answer(row) for row in usable])
    questions = [_question(row) for row in usable]
    pictures = [_picture(row) for row in usable]
    text_vectors = _vectorize_questions(questions)
    reduced = _reduce_features(np.array(list(features.values())))
    image_vectors = dict(zip(features, reduced, strict=True))
    questions_per_picture = Counter(pictures)
    folds = GroupKFold(FOLDS).split(usable, groups=pictures)
    for fold, (fit_indexes, label_indexes) in enumerate(folds):
        report("predicting pseudo-labels", fold, FOLDS)
        candidates: list[int] = label_indexes.tolist()
        pairs: dict[tuple[str, str], int] = {}  # picture and question -> index of the question
        for picture in dict.fromkeys(pictures[index] for index in candidates):
            count = min(factor * questions_per_picture[picture], len(candidates))
            for index in rng.sample(candidates, count):
                pairs[picture, questions[index]] = index
        pairs = {pair: index for pair, index in pairs.items() if pair not in known_pairs}
        if not pairs:
            continue
        predicted = _predict_answers(
            (text_vectors[fit_indexes], [image_vectors[pictures[index]] for index in fit_indexes]),
            answers[fit_indexes],
            (text_vectors[list(pairs.values())], [image_vectors[picture] for picture, _ in pairs]),
        )
        for (picture, question), answer in zip(pairs, predicted, strict=True):
            conversation = llava.format_exchange(f"<image>\n{question}", answer)
            yield {"image": [picture], "conversations": conversation}
    report("predicting pseudo-labels", FOLDS, FOLDS)


def _predict_answers(
    fit_inputs: tuple[Any, Any], answers: np.ndarray, inputs: tuple[Any, Any]
) -> list[str]:
    """Fit a linear SVM on (text vectors, image vectors) and predict the answers of others."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.svm import LinearSVC

    if len(set(answers)) == 1:  # an SVM needs two classes
        return [str(answers[0])] * inputs[0].shape[0]
    joined = [
        hstack([text_vectors, csr_matrix(np.array(image_vectors))]).tocsr()
        for text_vectors, image_vectors in (fit_inputs, inputs)
    ]
    classifier = LinearSVC(C=0.3, random_state=0).fit(joined[0], answers)
    predicted: list[str] = classifier.predict(joined[1]).tolist()
    return predicted


def _vectorize_questions(questions: Sequence[str]) -> Any:
    """Return the TF-IDF of words and word pairs: (questions, terms), sparse, rows of norm 1."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", sublinear_tf=True)
    return vectorizer.fit_transform(questions)


def _reduce_features(features: np.ndarray) -> np.ndarray:
    """Reduce (pictures, width) by PCA to (pictures, components), rows of norm IMAGE_WEIGHT."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import normalize

    pictures, width = features.shape
    components = max(1, min(MAX_COMPONENTS, pictures // PICTURES_PER_COMPONENT, width))
    pca = PCA(components, whiten=True, random_state=0)
    reduced: np.ndarray = IMAGE_WEIGHT * normalize(pca.fit_transform(features))
    return reduced


def _picture(row: dict[str, Any]) -> str:
    name: str = row["image"][0]
    return name


def _question(row: dict[str, Any]) -> str:
    question: str = row["conversations"][0]["value"]
    return question.removeprefix("<image>\n")


def _answer(row: dict[str, Any]) -> str:
    answer: str = row["conversations"][1]["value"]
    return answer
