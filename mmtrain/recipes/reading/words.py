"""Random words, names, prices, dates and numbers to draw.

Words and names come from text, so that a picture can say anything. A quarter of them is kept for
the held-out pictures.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_CURRENCIES = ("$", "\N{POUND SIGN}", "\N{EURO SIGN}", "")
_MIN_COUNT = 3  # occurrences of a word in the text
_MIN_WORDS = 40  # of each kind; with less text, the words of this module are used
_WORDS = _split(
    "garden river winter copper silver market corner harbor bridge window candle forest castle"
    " meadow pepper cotton rocket basket marble island summer orange ginger velvet breeze lantern"
    " pocket saddle timber walnut anchor button carpet dragon engine feather hammer jungle kettle"
    " ladder magnet needle oyster pencil quarry ribbon school tunnel valley wagon"
)
_NAMES = _split(
    "Alice Martin Clara Bennett Hugo Fischer Laura Conti Peter Novak Emma Larsen Oscar Reid Nina"
    " Weber Thomas Grant Julia Moreau Samuel Brooks Helen Carver Victor Lang Rosa Medina Edward"
    " Stone Sophie Keller Arthur Doyle Irene Walsh Frank Mason Olivia Hart Daniel Price Marta"
    " Silva"
)


@dataclass(frozen=True)
class Words:
    """Words and names, and a generator of random numbers that chooses among them.

    Attributes:
        rng: Chooses the words.
        common: Words in lower case.
        names: Capitalized names.
    """

    rng: Random
    common: Sequence[str]
    names: Sequence[str]

    def word(self) -> str:
        """Return a word in lower case."""
        return self.rng.choice(self.common)

    def title(self, count: int) -> str:
        """Return capitalized words."""
        return " ".join(self.word().capitalize() for _ in range(count))

    def name(self) -> str:
        """Return a family name."""
        return self.rng.choice(self.names)

    def full_name(self) -> str:
        """Return a first name and a family name."""
        return f"{self.name()} {self.name()}"

    def number(self, low: int, high: int) -> int:
        """Return a number from `low` to `high`."""
        return self.rng.randint(low, high)

    def currency(self) -> str:
        """Return a currency sign, or "" for none."""
        return self.rng.choice(_CURRENCIES)

    def cents(self, limit: int = 60) -> int:
        """Return a price of up to `limit` units, in hundredths."""
        return self.number(0, limit - 1) * 100 + self.rng.choice(
            (0, 5, 20, 40, 49, 50, 75, 90, 95, 99)
        )

    def date(self) -> str:
        """Return a date in one of several notations."""
        day, month, year = self.number(1, 28), self.number(1, 12), self.number(1995, 2029)
        name = _MONTHS[month - 1]
        return self.rng.choice(
            (
                f"{day} {name} {year}", f"{name} {day}, {year}", f"{day:02}/{month:02}/{year}",
                f"{day}.{month}.{year}", f"{year}-{month:02}-{day:02}", f"{day} {name[:3]} {year}",
            )
        )  # fmt: skip

    def day(self) -> str:
        """Return a day of the week."""
        return self.rng.choice(_DAYS)

    def time(self) -> str:
        """Return a time of day."""
        return f"{self.number(0, 23):02}:{self.number(0, 59):02}"

    def phone(self) -> str:
        """Return a phone number."""
        area, first, second = self.number(200, 989), self.number(200, 999), self.number(1000, 9999)
        return self.rng.choice((f"{area}-{first}-{second}", f"0{area} {first}{second % 1000:03}"))

    def street(self) -> str:
        """Return a street with a house number."""
        kind = self.rng.choice(("Street", "Road", "Lane", "Avenue", "Square"))
        return f"{self.number(1, 240)} {self.word().capitalize()} {kind}"


def collect_words(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the words and the names of texts; with too little text, those of this module.

    A name is capitalized within a sentence, and never in lower case.
    """
    counts: Counter[str] = Counter()
    capitalized: Counter[str] = Counter()
    for text in texts:
        counts.update(re.findall(r"\b[a-z]{4,9}\b", text))
        capitalized.update(re.findall(r"(?<=[a-z,] )[A-Z][a-z]{3,9}\b", text))
    words = sorted(word for word, count in counts.items() if count >= _MIN_COUNT)
    names = sorted(
        name
        for name, count in capitalized.items()
        if count >= _MIN_COUNT and not counts[name.lower()]
    )
    has_enough = len(words) >= _MIN_WORDS and len(names) >= _MIN_WORDS
    return (words, names) if has_enough else (list(_WORDS), list(_NAMES))


def choose_words(words: Sequence[str], *, held_out: bool) -> list[str]:
    """Return the quarter of words that is kept for the held-out pictures, or the others."""
    return [word for word in words if _is_held_out(word) == held_out]


def format_price(cents: int, currency: str) -> str:
    """Return a price with its currency sign."""
    return f"{currency}{cents // 100}.{cents % 100:02}"


def _is_held_out(word: str) -> bool:
    return hashlib.sha256(word.lower().encode()).digest()[0] % 4 == 0
