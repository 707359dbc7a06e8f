"""Normalize short answers for comparison, as the evaluation of the VQA challenge does.

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
_MEANINGFUL_PUNCTUATION = {"'", ".", "%", "$"}  # part of a word or of a number
# Without "it's", "let's" and "she'd", which are other words without their apostrophes.
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


def _iter_spellings(word: str) -> Iterator[str]:
    """Yield the spellings of a word that keep all, some or none of its apostrophes."""
    first, *rest = word.split("'")
    for marks in product(["", "'"], repeat=len(rest)):
        yield first + "".join(mark + part for mark, part in zip(marks, rest, strict=True))


_CONTRACTIONS = {
    variant: word for word in _APOSTROPHIZED.split() for variant in _iter_spellings(word)
}


def normalize(answer: str) -> str:
    """Return an answer in the form in which answers are compared.

    It is in lower case, without articles and punctuation, with numbers as digits and apostrophes
    in contractions. Of an answer that would become empty, such as "?" or the letter "A", only case
    and spaces are normalized.
    """
    text = (
        unicodedata.normalize("NFC", answer).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    )
    with_punctuation = " ".join(text.split())
    text = re.sub(r"(?<=\d),(?=\d)", "", text)  # 1,000
    text = re.sub(r"(?<!\d)\.|\.(?!\d)", "", text)  # U.S., but not a decimal point
    text = "".join(" " if _is_punctuation(character) else character for character in text)
    words = [_NUMBERS.get(word, word) for word in text.split() if word not in _ARTICLES]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words) or with_punctuation


def _is_punctuation(character: str) -> bool:
    """Return whether a character of any script is dropped; currencies, degrees and emoji stay."""
    category = unicodedata.category(character)
    return character not in _MEANINGFUL_PUNCTUATION and (
        category.startswith("P") or category in ("Sm", "Sk")
    )
