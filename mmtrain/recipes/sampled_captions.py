"""Captions that a model samples for photos; those that agree most with people's are kept.

Finetuning on them teaches the model to choose well among what it would say anyway (rejection
sampling, as in RAFT, arXiv:2304.06767). The reward is CIDEr-D against the captions of people, as in
self-critical training (arXiv:1612.00563).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from mmtrain.data import coco
from mmtrain.data.coco import CAPTION_QUESTION, CaptionedImage
from mmtrain.evaluation.captions import cider_d, words
from mmtrain.evaluation.image_check import drop_broken_images
from mmtrain.model import loading
from mmtrain.recipes.held_out import write_json
from mmtrain.recipes.material import ImageFolder
from mmtrain.recipes.question_templates import Photo, generate_caption_rows
from mmtui.errors import InputError
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.engines.sampling import Sampler, Sampling

MAX_KEPT = 2  # captions of a photo
MIN_SCORE = 0.3  # CIDEr-D of a caption that is kept
MAX_TOKENS = 30


@dataclass(frozen=True)
class SamplingOptions:
    """How captions are sampled.

    Attributes:
        photos: Maximum number of photos, which are drawn at random.
        captions_per_photo: How many captions are sampled for each photo.
        temperature: The sampling temperature.
        batch: Photos per batch.
        seed: Seed of the photos and of the captions.
    """

    photos: int
    captions_per_photo: int
    temperature: float
    batch: int
    seed: int


def write_sampled_captions(
    model: str, captions: Sequence[Path], out: Path, options: SamplingOptions, report: Report
) -> tuple[int, list[str]]:
    """Write LLaVA-Instruct JSON and its pictures into a new folder.

    Args:
        model: Preset or checkpoint folder.
        captions: COCO sets, of which the training part is used.
        out: The folder to write.
        options: How captions are sampled.
        report: Called with the progress.

    Returns:
        The number of captions, and notes about what was skipped.

    Raises:
        InputError: Data is in another layout, fewer than two photos have several captions, or no
            sampled caption is good enough.
    """
    sampler = Sampler(Sampling(options.temperature, seed=options.seed))
    found = loading.find_vision_checkpoint(model)
    items, notes = _choose_photos(captions, options)
    store = loading.load_feature_store(found, report)
    items, broken = drop_broken_images(items, lambda item: [item.image], store)
    _, generator = loading.load_generator(found, store, report)
    sampled = generator.sample(
        [[("user", (item.image, CAPTION_QUESTION))] for item in items],
        options.batch,
        options.captions_per_photo,
        sampler,
        MAX_TOKENS,
        report,
    )
    complete = [
        [answer for answer in answers if generator.is_complete(answer, MAX_TOKENS)]
        for answers in sampled
    ]
    images = ImageFolder(out / "images")
    photos = [
        Photo(images.add(item.image), kept)
        for item, kept in zip(items, _choose_best(items, complete), strict=True)
        if kept
    ]
    if not photos:
        raise InputError(
            f"no caption of {model} agrees with those of people", "train it on captions first"
        )
    rows = list(generate_caption_rows(photos, Random(options.seed)))
    images.copy(report)
    write_json(out / "llava_instruct.json", [row.to_llava() for row in rows])
    return len(rows), [*notes, *broken]


def _choose_photos(
    folders: Sequence[Path], options: SamplingOptions
) -> tuple[list[CaptionedImage], list[str]]:
    splits = [coco.load_split(folder) for folder in folders]
    notes = [note for split in splits for note in split.notes]
    held_out = {item.image.resolve() for split in splits for item in split.validation}
    by_file = {item.image.resolve(): item for split in splits for item in split.train}
    items = [
        item for file, item in by_file.items() if file not in held_out and len(item.captions) > 1
    ]
    if len(items) < 2:
        raise InputError(
            "fewer than two photos have several captions",
            "CIDEr-D compares a caption with those of several people",
        )
    return Random(options.seed).sample(items, min(options.photos, len(items))), notes


def _choose_best(
    items: Sequence[CaptionedImage], sampled: Sequence[Sequence[str]]
) -> Iterator[tuple[str, ...]]:
    """Yield the captions of each photo that score well, and at least as well as its average.

    Of captions that differ only in punctuation and case, one counts.
    """
    distinct = [{words(answer): answer for answer in answers} for answers in sampled]
    pairs = [(number, text) for number, answers in enumerate(distinct) for text in answers if text]
    _, scores = cider_d(
        [text for _, text in pairs], [list(items[number].captions) for number, _ in pairs]
    )
    scored: list[dict[str, float]] = [{} for _ in items]
    for (number, text), score in zip(pairs, scores, strict=True):
        scored[number][text] = score or 0.0
    for answers, of_photo in zip(distinct, scored, strict=True):
        mean = sum(of_photo.values()) / max(len(of_photo), 1)
        best = sorted(of_photo, key=of_photo.__getitem__, reverse=True)[:MAX_KEPT]
        yield tuple(answers[text] for text in best if of_photo[text] >= max(mean, MIN_SCORE))
