"""Scores of texts for a question, without a model: BM25 (Robertson and Zaragoza, 2009)."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

K1, B = 1.5, 0.75  # the usual saturation of repeated words, and weight of the length
STEM_LENGTH = 5  # characters; longer words also match by their beginning

# Words of scripts without spaces are split into pairs of characters.
_WORD = re.compile(r"[^\W_]+")
_NO_SPACES = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


def score_texts(question: str, texts: Sequence[str]) -> list[float]:
    """Return how well each text matches the question; 0 if they have no word in common."""
    wanted = set(split_words(question))
    counts = [Counter(word for word in split_words(text) if word in wanted) for text in texts]
    lengths = [len(text) for text in texts]
    mean_length = sum(lengths) / max(len(lengths), 1) or 1
    frequency = Counter(word for count in counts for word in count)
    weights = {
        word: math.log(1 + (len(texts) - number + 0.5) / (number + 0.5))
        for word, number in frequency.items()
    }
    scores = []
    for count, length in zip(counts, lengths, strict=True):
        norm = K1 * (1 - B + B * length / mean_length)
        scores.append(
            sum(weights[word] * times * (K1 + 1) / (times + norm) for word, times in count.items())
        )
    return scores


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case without accents, and the stems of long ones."""
    text = unicodedata.normalize("NFKD", text.casefold())
    words: list[str] = []
    for match in _WORD.finditer("".join(c for c in text if not unicodedata.combining(c))):
        word = match[0]
        if _NO_SPACES.search(word):
            words += [word[at : at + 2] for at in range(max(len(word) - 1, 1))]
            continue
        words.append(word)
        if len(word) > STEM_LENGTH:
            words.append(f"{word[:STEM_LENGTH]}-")
    return words
