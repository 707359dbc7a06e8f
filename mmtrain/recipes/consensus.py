"""The captions of a photo that agree most with its other captions.

A small model that is taught all captions of a photo averages over what single people noticed.
Weighting captions by their consensus, CIDEr-D against the others, teaches it what most people say
(arXiv:1712.09532).
"""

from collections.abc import Sequence
from dataclasses import replace

from mmtrain.evaluation.captions import cider_d
from mmtrain.recipes.question_templates import Photo


def choose_consensus(photos: Sequence[Photo], count: int) -> list[Photo]:
    """Return the photos with the `count` captions as descriptions that agree most with the rest.

    Photos with no more captions than that keep all of them.
    """
    pairs = [
        (number, caption)
        for number, photo in enumerate(photos)
        if len(photo.captions) > count
        for caption in photo.captions
    ]
    others = [[c for c in photos[number].captions if c != caption] for number, caption in pairs]
    scored: dict[int, list[tuple[float, str]]] = {}
    _, scores = cider_d([caption for _, caption in pairs], others)
    for (number, caption), score in zip(pairs, scores, strict=True):
        scored.setdefault(number, []).append((score or 0.0, caption))
    return [
        replace(photo, consensus=_best(scored[number], count)) if number in scored else photo
        for number, photo in enumerate(photos)
    ]


def _best(scored: list[tuple[float, str]], count: int) -> tuple[str, ...]:
    ranked = sorted(scored, key=lambda pair: pair[0], reverse=True)
    return tuple(caption for _, caption in ranked[:count])
