"""Questions and answers about pictures, made from their captions and labels.

A `Photo` is asked: what it shows (its captions), what it is (its label), whether things are in
it (half of which are not, as POPE asks, arXiv:2305.10355), and as one picture of several.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random

from mmtrain.data.coco import CAPTION_QUESTION

_DESCRIBE = (
    "What do you see in this picture?", "What does this picture show?", "Describe the image.",
    "What is happening in this picture?", "Write a caption for this photo.",
    "What is in this picture?", "Describe what you see.",
)  # fmt: skip
NAME = "What is this?"
_NAME = (
    "What is in this picture?", "What does this picture show?", "What can you see?",
    "Name the main thing in this picture.", "What kind of thing is this?",
)  # fmt: skip
_IS_THERE = ("Is there {} in this picture?", "Is there {}?", "Do you see {}?", "Can you see {}?")
_IS_THIS = "Is this {}?"  # of a picture with a label
_NUMBERS = ("first", "second")


@dataclass(frozen=True)
class Photo:
    """`image` is its name in the set. With a label, its only caption says "A photo of LABEL."."""

    image: str
    captions: tuple[str, ...]

    @property
    def label(self) -> str | None:
        """With its article: "a samoyed", "pants"."""
        if len(self.captions) != 1:
            return None
        found = re.fullmatch(r"[Aa] photo of (.+?)( in a grocery store)?\.?", self.captions[0])
        return _grammatical(found[1]) if found else None


@dataclass(frozen=True)
class Kind:
    """A thing to ask for: its name with article, the words that tell it is there, and the
    words by which it might be there."""

    name: str
    words: frozenset[str]
    perhaps: frozenset[str] = frozenset()


def _kinds() -> list[Kind]:
    def one(name: str, words: str = "", perhaps: str = "") -> Kind:
        own = name.rsplit(maxsplit=1)[-1]
        said = frozenset({own, f"{own}s", *words.split()})
        return Kind(name, said, frozenset(perhaps.split()))

    people = (
        "man men woman women boy boys girl girls child children kid kids person people guy guys"
        " lady ladies baby toddler player players rider climber hiker surfer skier group couple"
        " crowd family someone adult adults team skateboarder biker cyclist"
    )
    return [
        one("a person", people, "hand hands he his she her"),
        one("a man", "men guy guys", people), one("a woman", "women lady ladies", people),
        one("a child", "children kid kids boy boys girl girls baby toddler", people),
        one("a dog", "puppy puppies", "animal animals pet"), one("a cat", "kitten", "animal pet"),
        one("a horse", "horses", "animal animals pony"), one("a bird", "", "animal duck seagull"),
        one("a bicycle", "bike bikes bicyclist", "cyclist biker"),
        one("a car", "", "vehicle vehicles traffic truck taxi street road parking"),
        one("a motorcycle", "motorbike", "bike biker vehicle"), one("a bus", "buses", "vehicle"),
        one("a train", "", "station tracks"), one("a boat", "canoe kayak", "ship raft water"),
        one("an airplane", "plane planes airplanes", "jet"), one("a skateboard", "skateboarder"),
        one("a ball", "football baseball basketball", "soccer tennis game toy"),
        one("snow", "snowy snowboarder skier", "ice winter ski"),
        one("water", "ocean lake river sea pool stream creek waves", "beach wet surf boat fishing"),
        one("a beach", "shore", "sand sandy ocean"), one("a table", "", "desk kitchen restaurant"),
        one("a mountain", "mountains", "hill cliff peak rock rocks"),
        one("a toilet", "", "bathroom"),
        one("a computer", "laptop monitor", "desk screen keyboard"), one("a pizza", "", "food"),
        one("an elephant", "", "animal"), one("a giraffe", "", "animal"),
        one("an umbrella", "", "parasol"), one("a bed", "", "bedroom hotel"),
        one("a bench", "benches", "seat"), one("a tree", "trees woods forest", "grass park yard"),
        one("a bottle", "", "drink drinking"), one("a banana", "", "fruit food"),
        one("a clock", "", "watch tower"), one("a kitchen", "", "stove sink cooking"),
    ]  # fmt: skip


KINDS = _kinds()
_BY_NAME = {kind.name: kind for kind in KINDS}


def describing(photos: Iterable[Photo], chance: Random) -> Iterator["Row"]:
    """One row for each caption."""
    for photo in photos:
        for caption in photo.captions:
            asked = CAPTION_QUESTION if chance.random() < 0.5 else chance.choice(_DESCRIBE)
            yield Row((photo.image,), ((asked, caption),))


def naming(photos: Iterable[Photo], chance: Random) -> Iterator["Row"]:
    for photo in photos:
        asked = NAME if chance.random() < 0.6 else chance.choice(_NAME)
        yield Row((photo.image,), ((asked, sentence(photo.label or "")),))


def presence(
    photos: Iterable[Photo], turns: int, chance: Random, varied: bool = False
) -> Iterator["Row"]:
    """Rows of up to `turns` yes-or-no questions, each decided by itself.

    What is asked for in vain is what is often there in other photos, in proportion. Half of them
    are asked in other words where they are `varied`.
    """

    def asked(thing: str, photo: Photo) -> str:
        if not varied or chance.random() < 0.5:
            return is_there(thing)
        return chance.choice((*_IS_THERE, _IS_THIS) if photo.label else _IS_THERE).format(thing)

    chosen = list(photos)
    counts = Counter(thing for photo in chosen for thing in _there(photo))
    for photo in chosen:
        there, said = _there(photo), []
        absent = {thing: counts[thing] for thing in counts if not _perhaps(photo, thing)}
        for _ in range(turns):
            if not there or not absent:  # going on would give one answer away
                break
            if chance.random() < 0.5:
                said.append((asked(there.pop(chance.randrange(len(there))), photo), "Yes."))
            else:
                (thing,) = chance.choices(list(absent), list(absent.values()))
                del absent[thing]
                said.append((asked(thing, photo), "No."))
        if said:
            yield Row((photo.image,), tuple(said))


def several(photos: list[Photo], count: int, chance: Random) -> Iterator["Row"]:
    """Rows of two pictures: both at once, one after the other, or to choose from."""
    for number in range(count):
        pair = chance.sample(photos, 2)
        things = [photo.label or chance.choice(photo.captions).rstrip(".") for photo in pair]
        if things[0] == things[1]:
            continue
        images = tuple(photo.image for photo in pair)
        order = [0, 1] if chance.random() < 0.5 else [1, 0]
        at = order[0]
        if number % 3 == 0:
            asked = [f"What is in the {_NUMBERS[at]} picture?" for at in order]
            told = [sentence(things[at]) for at in order]
            yield Row(images, tuple(zip(asked, told, strict=True)))
        elif number % 3 == 1:
            question = NAME if pair[0].label else CAPTION_QUESTION
            following = chance.choice(["And this?", question])
            said = [
                (question, sentence(things[0])),
                (f"<image>\n{following}", sentence(things[1])),
                (f"What was in the {_NUMBERS[at]} picture?", sentence(things[at])),
            ]
            yield Row(images, tuple(said))
        else:
            thing = things[at][:1].lower() + things[at][1:]
            question = f"Which picture shows {thing}, the first or the second?"
            yield Row(images, ((question, f"The {_NUMBERS[at]}."),))


@dataclass(frozen=True)
class Row:
    """Turns of question and answer about pictures; those that no question marks come first."""

    images: tuple[str, ...]
    turns: tuple[tuple[str, str], ...]


def is_there(thing: str) -> str:
    return f"Is there {thing} in this picture? Answer yes or no."


def sentence(thing: str) -> str:
    return f"{thing[:1].upper()}{thing[1:]}."


def _there(photo: Photo) -> list[str]:
    if photo.label:
        return [photo.label]
    words = _words(" ".join(photo.captions))
    return [kind.name for kind in KINDS if words & kind.words]


def _perhaps(photo: Photo, thing: str) -> bool:
    """Whether a thing is in a photo, or may be."""
    words = _words(" ".join(photo.captions))
    if photo.label is None:
        kind = _BY_NAME[thing]
        return bool(words & (kind.words | kind.perhaps))
    return bool(words & (_words(thing) - {"a", "an"}))


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def _grammatical(name: str) -> str:
    """Without an article before a plural."""
    article, _, rest = name.partition(" ")
    plural = rest.endswith("s") and not rest.endswith(("ss", "us"))
    return rest if plural and article in ("a", "an") else name
