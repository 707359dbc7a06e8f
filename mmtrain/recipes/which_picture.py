"""Questions about groups of two and three photos, in one message and across turns.

Every photo of a group is asked for, so that no position in the message is more frequent. A thing
is asked for only if it is in one photo, and the captions of the others leave no doubt.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from mmtrain.data.coco import CAPTION_QUESTION
from mmtrain.recipes.properties import Property
from mmtrain.recipes.question_templates import (
    NAME_QUESTION,
    OBJECT_CLASSES,
    Photo,
    QuestionRow,
    may_contain,
    present_objects,
    split_words,
    strip_article,
    to_sentence,
)

_CLASS_NAMES = {object_class.name for object_class in OBJECT_CLASSES}
ORDINALS = ("first", "second", "third")
_SAME_MESSAGE_SHARE = 0.6  # of the groups; the others show a photo in each turn
_TRIPLE_SHARE = 0.4  # of the groups; the others have two photos
_DESCRIBE = (
    "What is in the {} picture?", "What does the {} picture show?", "Describe the {} picture.",
    "What can you see in the {} picture?",
)  # fmt: skip
_WHICH = ("Which picture shows {}?", "Which picture has {}?", "In which picture is there {}?")
_MIN_AGREEING_CAPTIONS = 2  # that share a word, for it to count in a test
_NEXT = ("And this one?", "And this?", "What about this picture?", "And here?")
_RECALL = (
    "What was in the {} picture?", "What did the {} picture show?",
    "Describe the {} picture again.",
)  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Photos that are shown together.

    Attributes:
        photos: Two or three photos, all with a label or none.
        things: For each photo, things with their articles that only it shows.
    """

    photos: tuple[Photo, ...]
    things: tuple[tuple[str, ...], ...]

    @property
    def images(self) -> tuple[str, ...]:
        """The images of the photos."""
        return tuple(photo.image for photo in self.photos)


def choose_groups(
    photos: Sequence[Photo], properties: Sequence[Property], sizes: Sequence[int], rng: Random
) -> Iterator[Group]:
    """Yield a group of each size, of photos that are alike in kind.

    Args:
        photos: The photos to choose from, all with a label or none.
        properties: Colours of things in them, which make things such as "a red car".
        sizes: How many photos each group has.
        rng: Decides which photos are chosen.
    """
    colored: dict[str, list[Property]] = {}
    for found in properties:
        if found.kind == "color" and len(found.values) == 1:
            colored.setdefault(found.photo.image, []).append(found)
    for size in sizes:
        chosen = rng.sample(photos, min(size, len(photos)))
        if len(chosen) == size:
            things = (_find_unique(at, chosen, colored) for at in range(size))
            yield Group(tuple(chosen), tuple(things))


def generate_group_rows(
    photos: Sequence[Photo], properties: Sequence[Property], count: int, rng: Random
) -> Iterator[QuestionRow]:
    """Yield the rows of `count` groups; a group in one message has a row for each question."""
    sizes = [3 if rng.random() < _TRIPLE_SHARE else 2 for _ in range(count)]
    for group in choose_groups(photos, properties, sizes, rng):
        if rng.random() < _SAME_MESSAGE_SHARE:
            yield from (QuestionRow(group.images, (turn,)) for turn in _ask_at_once(group, rng))
        else:
            yield _ask_in_turns(group, rng)


def generate_group_tests(
    photos: Sequence[Photo], properties: Sequence[Property], count: int, rng: Random
) -> list[dict[str, Any]]:
    """Return up to `count` questions in the format of `mmtrain.data.vqa`, one for each group.

    They have two or three photos, in one message or across turns, and ask which picture shows a
    thing or what is in a picture, all equally often; every position is asked for equally often.
    A description counts if it has a word that only the captions of the picture have, and names no
    object that only another picture shows.
    """
    tests: list[dict[str, Any]] = []
    for number in range(count):
        asks_which, in_turns, size = number % 2 == 0, number // 2 % 2 == 0, 2 + number // 4 % 2
        at = number // 8 % size
        for group in choose_groups(photos, properties, [size] * 50, rng):
            if item := _make_test(group, at, asks_which=asks_which, in_turns=in_turns):
                tests.append(item)
                break
    return tests


def _make_test(group: Group, at: int, *, asks_which: bool, in_turns: bool) -> dict[str, Any] | None:
    """Return a question about the photo at a position, or None if nothing can be asked."""
    things = group.things[at]
    if not asks_which and not group.photos[at].label:
        # The reply may name anything in the picture, so a colored thing alone is not enough.
        things = things if _CLASS_NAMES & set(things) else ()
    if not things:
        return None
    item: dict[str, Any] = {}
    if in_turns:
        first = NAME_QUESTION if group.photos[0].label else CAPTION_QUESTION
        questions = [first, *["And this one?"] * (len(group.images) - 1)]
        item["earlier"] = [
            {"image": image, "question": question}
            for image, question in zip(group.images, questions, strict=True)
        ]
    else:
        item["images"] = list(group.images)
    verb = "showed" if in_turns else "shows"
    if asks_which:
        item["question"] = f"Which picture {verb} {things[0]}?"
        item["answer"] = ORDINALS[at]
        item["wrong"] = [word for word in ORDINALS if word != ORDINALS[at]]
    else:
        item["question"] = f"What {'was' if in_turns else 'is'} in the {ORDINALS[at]} picture?"
        item["answers"] = list(
            dict.fromkeys([*_find_words(things), *_find_agreed_words(at, group.photos)])
        )
        others = [thing for n, part in enumerate(group.things) if n != at for thing in part]
        item["wrong"] = _find_words(others)
    return item


def _ask_at_once(group: Group, rng: Random) -> Iterator[tuple[str, str]]:
    """Yield questions about photos of one message, with answers."""
    size = len(group.photos)
    for at in rng.sample(range(size), size):
        name = ORDINALS[at] if at < size - 1 or rng.random() < 0.8 else "last"
        yield rng.choice(_DESCRIBE).format(name), _describe(group.photos[at], rng)
        if group.things[at]:
            yield _ask_which(group, at, rng.choice(_WHICH), rng)
    shown = [(at, thing) for at, things in enumerate(group.things) for thing in things]
    if shown:
        at, thing = rng.choice(shown)
        other = rng.choice([other for other in range(size) if other != at])
        for asked, answer in rng.sample(((at, "Yes."), (other, "No.")), 2):
            yield f"Is there {thing} in the {ORDINALS[asked]} picture?", answer


def _ask_in_turns(group: Group, rng: Random) -> QuestionRow:
    """Return a row that shows a photo in each turn and asks for one or two of them again."""
    turns: list[tuple[str, str]] = []
    said = [_describe(photo, rng) for photo in group.photos]
    first = NAME_QUESTION if group.photos[0].label else CAPTION_QUESTION
    for number, answer in enumerate(said):
        question = first if number == 0 else rng.choice((*_NEXT, first))
        turns.append((f"<image>\n{question}", answer))
    for at in rng.sample(range(len(said)), 2):
        if group.things[at] and rng.random() < 0.5:
            turns.append(_ask_which(group, at, "Which picture showed {}?", rng))
        else:
            turns.append((rng.choice(_RECALL).format(ORDINALS[at]), said[at]))
    return QuestionRow(group.images, tuple(turns))


def _ask_which(group: Group, at: int, template: str, rng: Random) -> tuple[str, str]:
    question = template.format(rng.choice(group.things[at]))
    if rng.random() < 0.3:
        names = [f"the {name}" for name in ORDINALS[: len(group.photos)]]
        question = f"{question.removesuffix('?')}, {', '.join(names[:-1])} or {names[-1]}?"
    return (
        question,
        f"The {ORDINALS[at]}." if rng.random() < 0.6 else f"The {ORDINALS[at]} picture.",
    )


def _describe(photo: Photo, rng: Random) -> str:
    return to_sentence(photo.label or rng.choice(photo.descriptions).rstrip("."))


def _find_unique(
    at: int, photos: Sequence[Photo], colored: Mapping[str, Sequence[Property]]
) -> tuple[str, ...]:
    """Return things with their articles that only the photo at a position shows."""
    photo, others = photos[at], [other for n, other in enumerate(photos) if n != at]
    things = [
        thing
        for thing in present_objects(photo)
        if not any(may_contain(other, thing) for other in others)
    ]
    captions = " ".join(caption for other in others for caption in other.captions).lower()
    for found in colored.get(photo.image, []):
        if found.noun not in captions:
            article = "" if found.verb == "are" else "an " if found.values[0][0] == "o" else "a "
            things.append(f"{article}{found.values[0]} {found.noun}")
    return tuple(things)


def _find_agreed_words(at: int, photos: Sequence[Photo]) -> list[str]:
    """Return the words that several captions of a photo share and no caption of the others has."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    counts = Counter(word for caption in photos[at].captions for word in split_words(caption))
    agreed = {word for word, count in counts.items() if count >= _MIN_AGREEING_CAPTIONS}
    others = (photo for n, photo in enumerate(photos) if n != at)
    elsewhere = split_words(" ".join(caption for other in others for caption in other.captions))
    return sorted(agreed - elsewhere - ENGLISH_STOP_WORDS)


def _find_words(things: Sequence[str]) -> list[str]:
    """Return the words that name things: those of their classes, or their own."""
    by_name = {object_class.name: object_class.words for object_class in OBJECT_CLASSES}
    words = [
        word
        for thing in things
        for word in sorted(
            by_name.get(thing, ()) or {thing.rsplit(maxsplit=1)[-1], strip_article(thing)}
        )
    ]
    return list(dict.fromkeys(words))
