"""What align and finetune share: their data sets, picture features and samples."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator

from mmtrain.data.dataset import Example, Split
from mmtrain.data.dialogue_dataset import DialogueDataset
from mmtrain.data.features import View
from mmtrain.data.referenced_files import raise_for_broken_files
from mmtrain.data.shared_prefix import supports_branches
from mmtrain.evaluation.contact_sheet import Sample
from mmtrain.model import row_attention
from mmtrain.model.generation import AnswerGenerator
from mmtrain.model.loading import Components
from mmtui.errors import InputError
from mmtui.pipeline.vision.projector import Projector

SAMPLES = 8  # pictures with an answer in each validation


def build_datasets(
    components: Components, split: Split, limit: int, views: Sequence[View]
) -> tuple[DialogueDataset, DialogueDataset]:
    """Build the training and validation data.

    Args:
        components: The model.
        split: The examples.
        limit: Maximum length of a row in tokens.
        views: The views of pictures that training draws from.

    Raises:
        InputError: There is no training example.
    """
    if not split.train:
        raise InputError("there is no example to train on")
    limit = min(limit, components.language.context_length)
    apart = supports_branches(components.language.model)
    row_attention.enable(components.language.model)
    make = partial(
        DialogueDataset,
        chat=components.chat,
        store=components.store,
        feature_shape=components.shape,
        max_length=limit,
    )
    return (
        make(split.train, views=views, pack_examples=apart),
        make(split.validation, pack_examples=apart),
    )


def make_encoder(
    components: Components,
    train: DialogueDataset,
    validation: DialogueDataset,
    views: Sequence[View],
    accelerator: Accelerator,
    notify: Callable[[str], None],
) -> Callable[[], None]:
    """Return a function that encodes all pictures, each process its share.

    The function drops examples with broken pictures, and raises InputError if there are many.
    """

    def encode() -> None:
        files = list(dict.fromkeys([*train.pictures, *validation.pictures]))
        if components.store is None:
            return
        components.store.ensure(
            files[accelerator.process_index :: accelerator.num_processes], views
        )
        accelerator.wait_for_everyone()
        broken = components.store.ensure(files, views)
        raise_for_broken_files("image", broken, len(files))
        if broken:
            dropped = train.drop(broken) + validation.drop(broken)
            notify(f"skipped {len(broken):,} broken images and {dropped:,} examples with them")
        if long := train.drop_untrainable() + validation.drop_untrainable():
            notify(f"{long:,} examples are left out, whose answers begin after --max-length")
        if not train.rows:
            raise InputError("no example is left to train on", "raise --max-length")

    return encode


def make_sampler(
    components: Components, projector: Projector, validation: DialogueDataset
) -> Callable[[], list[Sample]]:
    """Return a function that answers questions about the same few validation pictures."""
    seen = set()
    chosen: list[Example] = []
    for example in validation.examples:
        if example.pictures and example.pictures[0] not in seen and len(chosen) < SAMPLES:
            seen.add(example.pictures[0])
            chosen.append(example)
    generator = AnswerGenerator(
        components.language, projector, components.chat, components.store, components.shape[0]
    )

    def generate() -> list[Sample]:
        usable = [e for e in chosen if e in validation.examples]
        if not usable:
            return []
        if components.store is not None:
            components.store.ensure([picture for example in usable for picture in example.pictures])
        answers = generator.generate(
            [e.turns[: _find_first_answer(e)] for e in usable], batch=SAMPLES
        )
        return [_make_sample(e, answer) for e, answer in zip(usable, answers, strict=True)]

    return generate


def collect_features(
    components: Components, examples: list[Example], count: int
) -> tuple[torch.Tensor, list[str]]:
    """Return features (pictures, patches, width) of the first pictures, and a caption of each.

    Raises:
        InputError: No example has a picture, or none can be read.
    """
    assert components.store is not None
    captions: dict[Path, str] = {}
    for example in examples:
        if example.pictures:
            captions.setdefault(
                example.pictures[0], str(example.turns[_find_first_answer(example)][1][0])
            )
        if len(captions) == count:
            break
    if not captions:
        raise InputError("no example has a picture", "the projector is trained on pictures")
    files = list(captions)
    broken = components.store.ensure(files)
    good = [file for file in files if file not in broken]
    if not good:
        raise next(iter(broken.values()))
    features = torch.stack([components.store[components.store.get_key(file)] for file in good])
    return features, [captions[file] for file in good]


def _find_first_answer(example: Example) -> int:
    return next(n for n, (role, _) in enumerate(example.turns) if role == "assistant")


def _make_sample(example: Example, answer: str) -> Sample:
    at = _find_first_answer(example)
    question = " ".join(part for part in example.turns[at - 1][1] if isinstance(part, str))
    reference = str(example.turns[at][1][0])
    return Sample(example.name, example.pictures[0], question.strip(), answer, reference)
