"""Questions and answers about pictures, made from their captions and labels by templates.

There are four kinds: what a photo shows (its captions), what it is (its label), whether objects
are in it (half of them are not, as in POPE, arXiv:2305.10355), and questions about two photos.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from mmtrain.data import llava
from mmtrain.data.coco import CAPTION_QUESTION

_CAPTION_PARAPHRASES = (
    "What do you see in this picture?", "What does this picture show?", "Describe the image.",
    "What is happening in this picture?", "Write a caption for this photo.",
    "What is in this picture?", "Describe what you see.",
)  # fmt: skip
NAME_QUESTION = "What is this?"
_NAME_PARAPHRASES = (
    "What is in this picture?", "What does this picture show?", "What can you see?",
    "Name the main thing in this picture.", "What kind of thing is this?",
)  # fmt: skip
_PRESENCE = (
    "Is there {} in this picture?",
    "Is there {}?",
    "Do you see {}?",
    "Can you see {}?",
)
_LABEL_PRESENCE = "Is this {}?"  # of a picture with a label
_ORDINALS = ("first", "second")


@dataclass(frozen=True)
class Photo:
    """An image, by its name in the set, and its captions.

    A labelled photo has one caption, "A photo of LABEL.".

    Attributes:
        image: Its name in the set.
        captions: All captions; questions about things are made from them.
        consensus: The captions that are taught as descriptions; empty if all are.
    """

    image: str
    captions: tuple[str, ...]
    consensus: tuple[str, ...] = ()

    @property
    def descriptions(self) -> tuple[str, ...]:
        """The captions that are taught as descriptions of the photo."""
        return self.consensus or self.captions

    @property
    def label(self) -> str | None:
        """The label with its article, such as "a samoyed" or "pants"; None for other photos."""
        if len(self.captions) != 1:
            return None
        found = re.fullmatch(r"[Aa] photo of (.+?)( in a grocery store)?\.?", self.captions[0])
        return _fix_article(found[1]) if found else None


@dataclass(frozen=True)
class ObjectClass:
    """An object whose presence is asked about.

    Attributes:
        name: Its name with the article.
        words: Words of a caption that show that it is present.
        possible_words: Words of a caption beside which it may be present, so that "no" would be
            unsafe.
    """

    name: str
    words: frozenset[str]
    possible_words: frozenset[str] = frozenset()


def _object_classes() -> list[ObjectClass]:
    def obj(name: str, words: str = "", possible_words: str = "") -> ObjectClass:
        noun = name.rsplit(maxsplit=1)[-1]
        all_words = frozenset({noun, f"{noun}s", *words.split()})
        return ObjectClass(name, all_words, frozenset(possible_words.split()))

    people = (
        "man men woman women boy boys girl girls child children kid kids person people guy guys"
        " lady ladies baby toddler player players rider climber hiker surfer skier group couple"
        " crowd family someone adult adults team skateboarder biker cyclist"
    )
    return [
        obj("a person", people, "hand hands he his she her"),
        obj("a man", "men guy guys", people), obj("a woman", "women lady ladies", people),
        obj("a child", "children kid kids boy boys girl girls baby toddler", people),
        obj("a dog", "puppy puppies", "animal animals pet"), obj("a cat", "kitten", "animal pet"),
        obj("a horse", "horses", "animal animals pony"), obj("a bird", "", "animal duck seagull"),
        obj("a bicycle", "bike bikes bicyclist", "cyclist biker"),
        obj("a car", "", "vehicle vehicles traffic truck taxi street road parking"),
        obj("a motorcycle", "motorbike", "bike biker vehicle"), obj("a bus", "buses", "vehicle"),
        obj("a train", "", "station tracks"), obj("a boat", "canoe kayak", "ship raft water"),
        obj("an airplane", "plane planes airplanes", "jet"), obj("a skateboard", "skateboarder"),
        obj("a ball", "football baseball basketball", "soccer tennis game toy"),
        obj("snow", "snowy snowboarder skier", "ice winter ski"),
        obj("water", "ocean lake river sea pool stream creek waves", "beach wet surf boat fishing"),
        obj("a beach", "shore", "sand sandy ocean"), obj("a table", "", "desk kitchen restaurant"),
        obj("a mountain", "mountains", "hill cliff peak rock rocks"),
        obj("a toilet", "", "bathroom"),
        obj("a computer", "laptop monitor", "desk screen keyboard"), obj("a pizza", "", "food"),
        obj("an elephant", "", "animal"), obj("a giraffe", "", "animal"),
        obj("an umbrella", "", "parasol"), obj("a bed", "", "bedroom hotel"),
        obj("a bench", "benches", "seat"), obj("a tree", "trees woods forest", "grass park yard"),
        obj("a bottle", "", "drink drinking"), obj("a banana", "", "fruit food"),
        obj("a clock", "", "watch tower"), obj("a kitchen", "", "stove sink cooking"),
    ]  # fmt: skip


OBJECT_CLASSES = _object_classes()
_BY_NAME = {object_class.name: object_class for object_class in OBJECT_CLASSES}


def generate_caption_rows(photos: Iterable[Photo], rng: Random) -> Iterator["QuestionRow"]:
    """Yield a row for each description."""
    for photo in photos:
        for caption in photo.descriptions:
            question = CAPTION_QUESTION if rng.random() < 0.5 else rng.choice(_CAPTION_PARAPHRASES)
            yield QuestionRow((photo.image,), ((question, caption),))


def generate_name_rows(photos: Iterable[Photo], rng: Random) -> Iterator["QuestionRow"]:
    """Yield a row for each labelled photo, which asks for the label."""
    for photo in photos:
        question = NAME_QUESTION if rng.random() < 0.6 else rng.choice(_NAME_PARAPHRASES)
        yield QuestionRow((photo.image,), ((question, to_sentence(photo.label or "")),))


def generate_presence_rows(
    photos: Iterable[Photo], turns: int, rng: Random, paraphrase: bool = False
) -> Iterator["QuestionRow"]:
    """Yield rows of yes-or-no questions; each answer is yes with a probability of one half.

    Absent objects are sampled in proportion to the number of photos that contain them.

    Args:
        photos: The photos to ask about.
        turns: Maximum number of questions in a row.
        rng: Decides what is asked.
        paraphrase: Whether half of the questions are paraphrased.
    """

    def make_question(thing: str, photo: Photo) -> str:
        if not paraphrase or rng.random() < 0.5:
            return format_presence_question(thing)
        return rng.choice((*_PRESENCE, _LABEL_PRESENCE) if photo.label else _PRESENCE).format(thing)

    chosen = list(photos)
    counts = Counter(thing for photo in chosen for thing in present_objects(photo))
    for photo in chosen:
        present = present_objects(photo)
        exchanges = []
        absent = {thing: counts[thing] for thing in counts if not may_contain(photo, thing)}
        for _ in range(turns):
            if not present or not absent:  # only one answer would be possible
                break
            if rng.random() < 0.5:
                thing = present.pop(rng.randrange(len(present)))
                exchanges.append((make_question(thing, photo), "Yes."))
            else:
                (thing,) = rng.choices(list(absent), list(absent.values()))
                del absent[thing]
                exchanges.append((make_question(thing, photo), "No."))
        if exchanges:
            yield QuestionRow((photo.image,), tuple(exchanges))


def generate_pair_rows(photos: list[Photo], count: int, rng: Random) -> Iterator["QuestionRow"]:
    """Yield up to `count` rows about two photos.

    A third of them asks about the photos together, a third shows one after the other, and a third
    asks which photo shows something.
    """
    for number in range(count):
        pair = rng.sample(photos, 2)
        things = [photo.label or rng.choice(photo.descriptions).rstrip(".") for photo in pair]
        if things[0] == things[1]:
            continue
        images = tuple(photo.image for photo in pair)
        order = [0, 1] if rng.random() < 0.5 else [1, 0]
        at = order[0]
        if number % 3 == 0:
            questions = [f"What is in the {_ORDINALS[at]} picture?" for at in order]
            answers = [to_sentence(things[at]) for at in order]
            yield QuestionRow(images, tuple(zip(questions, answers, strict=True)))
        elif number % 3 == 1:
            question = NAME_QUESTION if pair[0].label else CAPTION_QUESTION
            following = rng.choice(["And this?", question])
            exchanges = [
                (question, to_sentence(things[0])),
                (f"<image>\n{following}", to_sentence(things[1])),
                (f"What was in the {_ORDINALS[at]} picture?", to_sentence(things[at])),
            ]
            yield QuestionRow(images, tuple(exchanges))
        else:
            thing = things[at][:1].lower() + things[at][1:]
            question = f"Which picture shows {thing}, the first or the second?"
            yield QuestionRow(images, ((question, f"The {_ORDINALS[at]}."),))


@dataclass(frozen=True)
class QuestionRow:
    """Questions and answers about images.

    Images without an <image> tag in a question come before the first question.
    """

    images: tuple[str, ...]
    turns: tuple[tuple[str, str], ...]

    def to_llava(self) -> dict[str, Any]:
        """Return the row in LLaVA-Instruct's layout."""
        tags = sum(question.count("<image>") for question, _ in self.turns)
        missing_tags = "<image>\n" * (len(self.images) - tags)
        (first, answer), *others = self.turns
        turns = [(missing_tags + first, answer), *others]
        conversation = [part for turn in turns for part in llava.format_exchange(*turn)]
        return {"image": list(self.images), "conversations": conversation}


def format_presence_question(thing: str) -> str:
    """Return the question whether a thing, with its article, is in the picture."""
    return f"Is there {thing} in this picture? Answer yes or no."


def to_sentence(thing: str) -> str:
    """Return a phrase as a sentence: capitalized, with a full stop."""
    return f"{thing[:1].upper()}{thing[1:]}."


def strip_article(thing: str) -> str:
    """Return the name of a thing without "a" or "an"."""
    return thing.removeprefix("a ").removeprefix("an ")


def present_objects(photo: Photo) -> list[str]:
    """Return the things, with their articles, that a photo certainly shows."""
    if photo.label:
        return [photo.label]
    words = split_words(" ".join(photo.captions))
    return [object_class.name for object_class in OBJECT_CLASSES if words & object_class.words]


def may_contain(photo: Photo, thing: str) -> bool:
    """Return whether the captions allow that an object is in a photo."""
    words = split_words(" ".join(photo.captions))
    if photo.label is None:
        object_class = _BY_NAME[thing]
        return bool(words & (object_class.words | object_class.possible_words))
    return bool(words & (split_words(thing) - {"a", "an"}))


def split_words(text: str) -> set[str]:
    """Return the words of a text in lower case."""
    return set(re.findall(r"[a-z]+", text.lower()))


def _fix_article(name: str) -> str:
    """Remove the article before a plural."""
    article, _, rest = name.partition(" ")
    plural = rest.endswith("s") and not rest.endswith(("ss", "us"))
    return rest if plural and article in ("a", "an") else name
