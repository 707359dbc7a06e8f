"""Questions about the colours and sizes of things, whose prior gives nothing away.

Two properties with different values, "a brown dog" and "a white dog", are a match: both photos are
asked "Is the dog brown or white?". Always giving the same answer, or the first of the two choices,
is right half of the time.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from mmtrain.recipes.properties import Property
from mmtrain.recipes.question_templates import QuestionRow, to_sentence

_MATCHES = 3  # of every property: a "brown dog" is also compared with a black one
_OPEN_SHARE = 0.5  # of the colours that are also asked for without choices
_YES_NO_SHARE = 0.35  # of the matches that are also asked with yes or no
_SENTENCE_SHARE = 0.25  # of the answers that are sentences
_MIN_SEEN = 2  # things of the same name with the wrong value, which makes it plausible


@dataclass(frozen=True)
class Choice:
    """A question with two choices.

    Attributes:
        asked: The property in question; it has one value.
        wrong: The other choice.
        is_right_first: Whether the right choice comes first.
    """

    asked: Property
    wrong: str
    is_right_first: bool

    @property
    def question(self) -> str:
        """The question, such as "Is the dog brown or white?"."""
        choices = [self.asked.values[0], self.wrong]
        first, second = choices if self.is_right_first else reversed(choices)
        return f"{self.asked.verb.capitalize()} the {self.asked.noun} {first} or {second}?"


def match_choices(
    properties: Sequence[Property], known: Sequence[Property], rng: Random
) -> list[Choice]:
    """Return choices in pairs that have the same values in the same order.

    Things of the same name are matched first. Every property is asked at most once, and those
    without a match are not.

    Args:
        properties: The properties to ask about.
        known: The properties that tell which values things usually have.
        rng: Decides what is matched.
    """
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for found in known:
        if len(found.values) == 1:
            seen[found.noun][found.values[0]] += 1
    single = [found for found in properties if len(found.values) == 1]
    rng.shuffle(single)
    by_noun: dict[str, list[Property]] = defaultdict(list)
    for found in single:
        by_noun[found.noun].append(found)
    choices: list[Choice] = []
    unmatched: list[Property] = []
    for things in by_noun.values():
        unmatched += _match(things, choices, seen, rng)
    _match(unmatched, choices, seen, rng)
    return choices


def generate_property_rows(properties: Sequence[Property], rng: Random) -> Iterator[QuestionRow]:
    """Yield rows that each ask about one property."""
    choices = [
        choice for _ in range(_MATCHES) for choice in match_choices(properties, properties, rng)
    ]
    for choice in choices:
        asked, value = choice.asked, choice.asked.values[0]
        yield _make_row(asked, choice.question, _answer(asked, value, rng))
        if rng.random() < _YES_NO_SHARE:
            is_right = rng.random() < 0.5
            shown = value if is_right else choice.wrong
            question = f"{asked.verb.capitalize()} the {asked.noun} {shown}?"
            yield _make_row(asked, question, "Yes." if is_right else "No.")
    for found in properties:
        if found.kind == "color" and rng.random() < _OPEN_SHARE:
            word = "color" if rng.random() < 0.7 else "colour"
            question = f"What {word} {found.verb} the {found.noun}?"
            yield _make_row(found, question, _answer(found, " and ".join(found.values), rng))


def _match(
    properties: Sequence[Property],
    choices: list[Choice],
    seen: dict[str, Counter[str]],
    rng: Random,
) -> list[Property]:
    """Append the choices of all matches; return the properties without a match."""

    def is_plausible(found: Property, value: str) -> bool:
        is_usual = seen[found.noun][value] >= _MIN_SEEN
        return is_usual and value not in found.possible

    def is_match(one: Property, other: Property) -> bool:
        is_same_kind = one.kind == other.kind
        return (
            is_same_kind
            and is_plausible(one, other.values[0])
            and is_plausible(other, one.values[0])
        )

    waiting: list[Property] = []
    for found in properties:
        other = next((other for other in waiting if is_match(found, other)), None)
        if other is None:
            waiting.append(found)
            continue
        waiting.remove(other)
        is_first = rng.random() < 0.5
        choices.append(Choice(found, other.values[0], is_first))
        choices.append(Choice(other, found.values[0], not is_first))
    return waiting


def _answer(found: Property, value: str, rng: Random) -> str:
    if rng.random() < _SENTENCE_SHARE:
        return f"The {found.noun} {found.verb} {value}."
    return to_sentence(value)


def _make_row(found: Property, question: str, answer: str) -> QuestionRow:
    return QuestionRow((found.photo.image,), ((question, answer),))
