"""One LLaVA-Instruct set out of captions, labels, dialogues and text, with tests beside it.

The output folder holds llava_instruct.json, llava_instruct_val.json (a tenth of the pictures, and
all of captions_val*.json) and images/. Questions with short answers are rows of their own, also
those of longer dialogues. The held-out pictures are the data of tests. Those for
`mmtrain eval vqa` are: name/ asks for labels, present/ whether things are in a picture, answer/
and yes-no/ the questions of the dialogues, colour/ for one of two colours or sizes, and which/
about two or three pictures. captions/ is for `mmtrain eval captions`.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from mmtrain.data import llava, redpajama
from mmtrain.recipes import (
    consensus,
    held_out,
    material,
    pseudo_labels,
    question_templates,
    which_picture,
)
from mmtrain.recipes.held_out import write_json
from mmtrain.recipes.material import FeatureLoader, Material
from mmtrain.recipes.properties import Property, PropertyFinder
from mmtrain.recipes.property_questions import generate_property_rows
from mmtrain.recipes.question_templates import QuestionRow
from mmtui.pipeline.assets.fetch import Report, ignore_progress

MAX_PASSAGES = 600  # rows of text to continue
PASSAGE_WORDS = 60  # words of the given text, and of its continuation
PAIRS_PER_PICTURE = 0.5  # rows of two pictures
GROUPS_PER_PICTURE = 0.5  # groups of two and three pictures, with several rows each


def mix(
    captions: Sequence[Path],
    dialogues: Sequence[Path],
    texts: Sequence[Path],
    out: Path,
    seed: int,
    captions_per_photo: int = 0,
    pseudo_label_factor: int = 0,
    load_features: FeatureLoader | None = None,
    report: Report = ignore_progress,
) -> list[str]:
    """Write the set into a new folder.

    Args:
        captions: COCO sets. If a picture has one caption, "A photo of a ...", it is a label.
        dialogues: LLaVA-Instruct files.
        texts: RedPajama files.
        out: The folder to write.
        seed: Decides what is asked, and the order of the rows.
        captions_per_photo: How many captions are taught as descriptions, those that agree most
            with the others; 0 teaches all. Questions about things are made from all of them.
        pseudo_label_factor: How many pseudo-labelled rows to add for each short question.
        load_features: Features for the pseudo-labels; None adds none.
        report: Called with the progress.

    Returns:
        Notes about what was skipped.

    Raises:
        InputError: Data is in another layout.
    """
    images = material.ImageFolder(out / "images")
    sources = material.load_sources(captions, dialogues, images)
    train, validation, notes = sources.train, sources.validation, sources.notes
    if captions_per_photo:
        train.captioned = consensus.choose_consensus(train.captioned, captions_per_photo)
    finder = PropertyFinder([*train.captioned, *validation.captioned])
    knowledge = held_out.Knowledge(
        list(finder.find(train.captioned)), list(finder.find(validation.captioned))
    )
    rng = Random(seed)
    questions = _question_rows(train, knowledge.train, rng)
    rows = [*questions, *train.dialogues, *_passage_rows(texts)]
    rng.shuffle(rows)
    if load_features:
        pseudo_labelled = list(
            pseudo_labels.generate_pseudo_labels(
                [row for row in train.dialogues if material.is_short_question(row)],
                pseudo_label_factor,
                partial(images.load_features, load_features),
                Random(seed),
                report,
            )
        )
        if not pseudo_labelled:
            notes.append("too few questions, answers or pictures to ask elsewhere")
        rows += pseudo_labelled
    validation_questions = _question_rows(validation, knowledge.validation, rng)
    validation_rows = [*validation_questions, *validation.dialogues]
    rng.shuffle(validation_rows)
    images.copy(report)
    write_json(out / "llava_instruct.json", rows)
    if validation_rows:
        write_json(out / "llava_instruct_val.json", validation_rows)
    held_out.write_tests(validation, knowledge, out, seed)
    return notes


def _question_rows(
    photos: Material, properties: Sequence[Property], rng: Random
) -> Iterator[dict[str, Any]]:
    """Yield LLaVA-Instruct rows of questions made from captions and labels."""
    presence = [
        *question_templates.generate_presence_rows(photos.captioned, 4, rng, paraphrase=True),
        *question_templates.generate_presence_rows(photos.labelled, 1, rng, paraphrase=True),
    ]
    rows = [
        *question_templates.generate_caption_rows(photos.captioned, rng),
        *question_templates.generate_name_rows(photos.labelled, rng),
        # As rows of one question, they share the picture with other rows about it.
        *(QuestionRow(row.images, (turn,)) for row in presence for turn in row.turns),
        *generate_property_rows(properties, rng),
    ]
    for similar in (photos.captioned, photos.labelled):
        if len(similar) > 1:
            pairs = int(PAIRS_PER_PICTURE * len(similar))
            groups = int(GROUPS_PER_PICTURE * len(similar))
            rows += question_templates.generate_pair_rows(similar, pairs, rng)
            rows += which_picture.generate_group_rows(similar, properties, groups, rng)
    yield from (row.to_llava() for row in rows)


def _passage_rows(texts: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield rows of text to continue, which keep the language model from forgetting."""
    files = [file for path in texts for file in redpajama.find_files(path)]
    documents = (text.split() for text in redpajama.iter_documents(files))
    long_documents = (words for words in documents if len(words) >= 2 * PASSAGE_WORDS)
    for words in islice(long_documents, MAX_PASSAGES):
        passage = " ".join(words[:PASSAGE_WORDS])
        continuation = " ".join(words[PASSAGE_WORDS : 2 * PASSAGE_WORDS])
        question = f"Continue this text.\n\n{passage}"
        yield {"conversations": llava.format_exchange(question, continuation)}
