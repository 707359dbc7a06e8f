"""Detection of the language of a sentence, to choose a voice that can read it."""

import re
from collections import Counter

# Ranges of characters of one script; the first that makes up a third of the letters decides.
# Languages that share a script are read as the one with the most speakers. Kana come before Han,
# because Japanese uses both.
_SCRIPTS = (
    ("ja", "\u3040-\u30ff"), ("ko", "\uac00-\ud7af\u1100-\u11ff"), ("zh", "\u4e00-\u9fff"),
    ("ru", "\u0400-\u04ff"), ("el", "\u0370-\u03ff"), ("he", "\u0590-\u05ff"),
    ("ar", "\u0600-\u06ff"), ("hi", "\u0900-\u097f"), ("th", "\u0e00-\u0e7f"),
)  # fmt: skip
_FREQUENT_WORDS = {
    "en": "the of and to in is that it for with as was on are be this you not have from by or an"
    " at can which they we but will your about has their i",
    "de": "der die das und ist nicht ein eine einen zu den von mit sich auf für im dem des auch es"
    " wird sind wie ich sie bei oder aber kann werden nach",
    "fr": "le la les et est des un une du que en pour qui dans il pas sur au plus ne ce se avec"
    " sont par nous vous cette ou mais être",
    "es": "el la los las de que y en un una es por con para del se no su al lo como más pero sus"
    " está son muy también ser hay",
    "it": "il la le di che e un una è per in del non con si della sono da gli alla anche più come"
    " nel questo ma ha i lo delle",
    "pt": "o a os as de que e em um uma é do da para com não por se mais como dos mas ao na no das"
    " são foi também você",
    "nl": "de het een en van is dat niet op te zijn voor met die in aan er ook als bij naar om maar"
    " wordt deze kan of door",
    "pl": "i w na z do nie się jest to że jak po ale dla od są przez o za tak może tym być które"
    " ze czy co",
    "sv": "och i att det som en på är av för med den till inte om ett har de kan men var från så"
    " eller när",
}  # fmt: skip
_BY_WORD: dict[str, list[str]] = {}
for _language, _words in _FREQUENT_WORDS.items():
    for _word in _words.split():
        _BY_WORD.setdefault(_word, []).append(_language)
_MIN_MARGIN = 2  # frequent words more than in the language before


def detect_language(sentence: str, previous: str = "en") -> str:
    """Return the code of the language of a sentence.

    A script decides where it belongs to one language; in Latin letters, the most frequent words of
    nine languages are counted. Short sentences often have none of them.

    Args:
        sentence: The sentence.
        previous: The language of the sentence before, which is returned in case of doubt.
    """
    letters = sum(map(str.isalpha, sentence))
    for language, characters in _SCRIPTS:
        if 3 * len(re.findall(f"[{characters}]", sentence)) > letters:
            return language
    counts = Counter(
        language
        for word in re.findall(r"[^\W\d_]+", sentence.lower())
        for language in _BY_WORD.get(word, ())
    )
    if not counts:
        return "en" if previous in dict(_SCRIPTS) else previous
    best = max(counts, key=lambda language: counts[language])
    return best if counts[best] >= counts[previous] + _MIN_MARGIN else previous
