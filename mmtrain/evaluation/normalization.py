"""When two short answers are the same, after the evaluation of the VQA challenge.

Paper: arXiv:1505.00468; tables: https://visualqa.org/evaluation.html.
"""

import re
import unicodedata
from collections.abc import Iterator
from itertools import product

_NUMBERS = {
    "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5",
    "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10",
}  # fmt: skip
_ARTICLES = {"a", "an", "the"}
_KEPT = {"'", ".", "%", "$"}  # punctuation that is part of a word, or of a number
# Not "it's", "let's" or "she'd": without their apostrophes they are other words.
_APOSTROPHIZED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's i'd've i'm i've isn't it'd it'd've it'll ma'am
    might've mightn't mightn't've must've mustn't needn't not've o'clock oughtn't shan't she'd've
    should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've
    someone'll someone's something'd something'd've something'll that's there'd there'd've there're
    there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll
    what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll
    why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll
    you're you've
"""


def _without_apostrophes(word: str) -> Iterator[str]:
    """A word as people write it who leave out some of its apostrophes, or all."""
    first, *rest = word.split("'")
    for marks in product(["", "'"], repeat=len(rest)):
        yield first + "".join(mark + part for mark, part in zip(marks, rest, strict=True))


_CONTRACTIONS = {
    variant: word for word in _APOSTROPHIZED.split() for variant in _without_apostrophes(word)
}


def normalize(answer: str) -> str:
    """Lower case, without articles and punctuation, numbers as digits, contractions whole.

    An answer of which nothing would be left, such as "?" or the letter "A", stays as it is.
    """
    text = (
        unicodedata.normalize("NFC", answer).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    )
    whole = " ".join(text.split())
    text = re.sub(r"(?<=\d),(?=\d)", "", text)  # 1,000
    text = re.sub(r"(?<!\d)\.|\.(?!\d)", "", text)  # U.S., but not a decimal point
    text = "".join(" " if _is_punctuation(character) else character for character in text)
    words = [_NUMBERS.get(word, word) for word in text.split() if word not in _ARTICLES]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words) or whole


def _is_punctuation(character: str) -> bool:
    """Also of other scripts; but a currency, a degree sign or an emoji says something."""
    category = unicodedata.category(character)
    return character not in _KEPT and (category.startswith("P") or category in ("Sm", "Sk"))
