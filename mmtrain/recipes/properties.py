"""Colours and sizes of things in photos, found in their captions.

There is no tagger: a noun is a word that captions use as one. It mostly follows a determiner or an
adjective ("a dog", "brown dog"), and words that end a noun phrase mostly follow it ("dog in",
"dog.").
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mmtrain.recipes.question_templates import Photo


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


Kind = Literal["color", "size"]

COLORS = {
    "black": "black", "white": "white", "red": "red", "blue": "blue", "green": "green",
    "yellow": "yellow", "orange": "orange", "brown": "brown", "pink": "pink", "purple": "purple",
    "gray": "gray", "grey": "gray", "tan": "tan", "golden": "golden", "blond": "blond",
    "blonde": "blond", "silver": "silver", "beige": "beige",
}  # fmt: skip
SIZES = {"big": "big", "large": "big", "huge": "big", "small": "small", "tiny": "small",
         "little": "small"}  # fmt: skip
# Values that people mix up, so that neither is a wrong answer where a caption states the other.
_SIMILAR: tuple[frozenset[str], ...] = (
    frozenset({"brown", "tan", "golden", "blond", "beige", "orange", "yellow"}),
    frozenset({"white", "gray", "silver", "beige"}),
    frozenset({"red", "orange", "pink"}),
    frozenset({"pink", "purple"}),
)
_VALUES: dict[Kind, dict[str, str]] = {"color": COLORS, "size": SIZES}
_ADJECTIVES = _words(
    "light dark bright big large huge small tiny little long short tall old young striped plaid"
    " colored coloured dirty wet shiny fluffy furry"
)
_DETERMINERS = _words("a an the his her their its two three four some this that")
_PHRASE_ENDS = _words(
    "in on with and is are at of to that who which while by near from for next as over under into"
    " onto through behind beside between against along across around up down off out above below"
    " inside outside during has have it or was were being standing sitting laying lying running"
    " walking playing jumping riding holding wearing looking"
)
_PLURALS = _words("pants shorts jeans trousers sunglasses glasses scissors goggles")
# Their colour is that of the picture, or of a part; or they have none.
_NOT_ASKED = _words(
    "photo photograph picture image background color side top area one ones man woman boy girl"
    " person child people men women children boys girls guy lady baby kid toddler team player"
    " sky light lights day group variety piece pair couple item items object objects meat part"
    " stripe stripes trim letters design spots print clothes clothing outfit outfits colors"
    " attire gear material amount number crowd body city town world scene view bunch line"
    " distance family mouth face eyes ears paws collar hand hands building buildings wave waves"
    " ben kids infant brother sister audience tasty flip splash hole nose head chunk pile"
    " markings display model"
)
_MIN_NOUN_COUNT = 4  # occurrences in the captions
_MIN_NOUN_SHARE = 0.3  # of them after a determiner or an adjective; and of them before an end


@dataclass(frozen=True)
class Property:
    """A property of one thing in a photo.

    Attributes:
        photo: The photo.
        kind: What the values are.
        noun: The thing, without an article, such as "dog" or "fire hydrant".
        values: The values that captions state, in the order of the first caption; no caption
            states another one. Of several, none is the only right one.
        captions: How many captions state them.
        possible: Values that the captions allow, so that "no" would be unsafe.
    """

    photo: Photo
    kind: Kind
    noun: str
    values: tuple[str, ...]
    captions: int
    possible: frozenset[str]

    @property
    def verb(self) -> str:
        """The verb for the noun."""
        last = self.noun.rsplit(maxsplit=1)[-1]
        is_plural = last in _PLURALS or (last.endswith("s") and not last.endswith(("ss", "us")))
        return "are" if is_plural else "is"


class PropertyFinder:
    """Finds the properties that the captions of photos state.

    Args:
        photos: The photos from whose captions the nouns are learned.
    """

    def __init__(self, photos: Iterable[Photo]) -> None:
        total: Counter[str] = Counter()
        started: Counter[str] = Counter()
        ended: Counter[str] = Counter()
        starts = _DETERMINERS | _ADJECTIVES | COLORS.keys()
        for photo in photos:
            for caption in photo.captions:
                words = ["", *_split(caption), ""]
                for before, word, after in zip(words, words[1:], words[2:], strict=False):
                    total[word] += 1
                    started[word] += before in starts
                    ended[word] += not after.isalpha() or after in _PHRASE_ENDS
        known = {word for word, count in total.items() if count >= _MIN_NOUN_COUNT}
        known -= starts | _PHRASE_ENDS
        known = {word for word in known if not word.endswith(("ing", "haired"))}
        self._modifiers = {w for w in known if started[w] >= _MIN_NOUN_SHARE * total[w]}
        self._nouns = {w for w in self._modifiers if ended[w] >= _MIN_NOUN_SHARE * total[w]}

    def find(self, photos: Iterable[Photo]) -> Iterator[Property]:
        """Yield the properties of the things that a caption names once with a value."""
        for photo in photos:
            text = " ".join(photo.captions).lower()
            if re.search(r"\b(black and white|sepia)\W+(photo|picture|image)|monochrom", text):
                continue
            for kind in _VALUES:
                yield from self._find_kind(photo, kind)

    def _find_kind(self, photo: Photo, kind: Kind) -> Iterator[Property]:
        stated: dict[str, list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
        for caption in photo.captions:
            for noun, values in self._find_in_caption(_split(caption), kind):
                stated[noun.removesuffix("s")].append((noun, values))
        for found in stated.values():
            if len({frozenset(values) for _, values in found}) == 1:
                noun, values = found[0]
                possible = _find_possible(photo, kind, values)
                yield Property(photo, kind, noun, values, len(found), possible)

    def _find_in_caption(
        self, words: Sequence[str], kind: Kind
    ) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield each noun of a caption that has values before it, such as "brown and white dog"."""
        spellings = _VALUES[kind]
        values: list[str] = []
        for position, word in enumerate(words):
            following = words[position + 1] if position + 1 < len(words) else ""
            if word in spellings:
                values.append(spellings[word])
            elif values and word in ("and", ",") and following in spellings:
                continue
            elif values and word not in _ADJECTIVES | COLORS.keys():
                if noun := self._read_noun(words[position : position + 3]):
                    yield noun, tuple(dict.fromkeys(values))
                values = []

    def _read_noun(self, words: Sequence[str]) -> str | None:
        """Return the noun that the words begin with: one or two words, the last a noun."""
        for length in (2, 1):
            phrase, following = words[:length], words[length : length + 1]
            if len(phrase) < length or phrase[-1] not in self._nouns:
                continue
            if phrase[0] in self._modifiers and self._nouns.isdisjoint(following):
                return None if phrase[-1] in _NOT_ASKED else " ".join(phrase)
        return None


def _find_possible(photo: Photo, kind: Kind, values: Sequence[str]) -> frozenset[str]:
    spellings = _VALUES[kind]
    words = {word for caption in photo.captions for word in _split(caption)}
    possible = {spellings[word] for word in words & spellings.keys()}
    for group in _SIMILAR:
        if not group.isdisjoint(values):
            possible |= group
    return frozenset(possible)


def _split(caption: str) -> list[str]:
    return re.findall(r"[a-z]+(?:[-'][a-z]+)*|[.,;]", caption.lower())
