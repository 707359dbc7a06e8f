"""What is read aloud of a text in Markdown, and in which sentences."""

import pytest

from mmtui.pipeline.speech.sentences import MAX_LENGTH
from mmtui.pipeline.speech.spoken_math import read_formula
from mmtui.pipeline.speech.spoken_text import SpokenText, to_sentences

ANSWER = """# Hello **world**! 😀

Dr. Smith paid $5 for `foo_bar()`. See [the docs](https://x.org/a) or https://www.example.com/a?b=1.
It is *very* good [1]. "Is it?" J. K. Rowling said so, e.g. here. The area is $\\pi r^2$.

1. First item
2. Second **item. With two** sentences
   - nested ✅

- [ ] buy bread
- [x] sleep

```python
print("nobody reads this. Really")

x = 1
```

| Name | Age |
|---|---|
| Alice | 30 |
| Bob | |

> A quote
> continues.

![a cat](cat.png)

~~~
more code
~~~
Done"""
SPOKEN = """Hello world!
Dr. Smith paid $5 for foo bar.
See the docs or link to example.com.
It is very good.
"Is it?"
J. K. Rowling said so, e.g. here.
The area is pi r squared.
1, First item.
2, Second item.
With two sentences.
nested.
To do: buy bread.
Done: sleep.
Code omitted.
Name: Alice; Age: 30.
Name: Bob.
A quote continues.
picture: a cat.
Code omitted.
Done."""


def read(markdown: str) -> list[str]:
    return [sentence.text for sentence in to_sentences(markdown)]


def test_markdown_becomes_what_a_person_would_read():
    assert "\n".join(read(ANSWER)) == SPOKEN


@pytest.mark.parametrize("length", [1, 2, 5, 17])
def test_a_stream_gives_the_same_sentences(length):
    text = SpokenText()
    sentences = []
    for start in range(0, len(ANSWER), length):
        sentences += text.write(ANSWER[start : start + length])
    sentences += text.finish()
    assert "\n".join(sentence.text for sentence in sentences) == SPOKEN


def test_a_sentence_is_returned_when_the_next_one_starts():
    text = SpokenText()
    assert text.write("The sky is blue.") == []
    assert [sentence.text for sentence in text.write(" It")] == ["The sky is blue."]
    assert text.write(" is 3.5 km high, i.e. low") == []
    assert [sentence.text for sentence in text.write("\n\n")] == []
    assert [sentence.text for sentence in text.write("Next")] == ["It is 3.5 km high, i.e. low."]
    assert [sentence.text for sentence in text.finish()] == ["Next."]
    assert text.finish() == []


def test_a_code_block_is_announced_when_it_starts():
    text = SpokenText()
    assert [sentence.text for sentence in text.write("```\nx = 1\n")] == ["Code omitted."]
    assert text.write("y = 2. Or 3\n" * 10_000) == []
    assert text.write("```\n") == []
    assert [sentence.text for sentence in text.write("So.\n\nBye")] == ["So."]


def test_long_sentences_are_split_between_clauses():
    clause = "and then they walked on for a while, "
    sentences = read(clause * 20 + "home")
    assert all(len(sentence) <= MAX_LENGTH for sentence in sentences)
    assert all(sentence.endswith((",", ".")) for sentence in sentences)
    assert len("".join(read("x" * 1000)).rstrip(".")) == 1000


def test_a_long_table_is_cut_off():
    rows = read("| a |\n|---|\n" + "| b |\n" * 12)
    assert rows[0] == "a: b." and rows[-1] == "4 more rows of the table omitted."
    assert len(rows) == 9


@pytest.mark.parametrize("text", ["", "\n\n", "---", "😀", "***", "[]", "|", "$$", "\x1b]\x07"])
def test_nothing_is_read_where_there_are_no_words(text):
    assert read(text) == []


def test_a_long_paragraph_does_not_take_long():
    text = SpokenText()
    sentences = []
    for _ in range(5000):
        sentences += text.write("This is one. ")
    assert len(sentences + text.finish()) == 5000


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("x^2 + y_1 = 3", "x squared plus y 1 equals 3"),
        (r"\frac{a}{b} \leq \sqrt{2}", "a over b is at most the square root of 2"),
        (r"20^\circ", "20 degrees"),
        (r"\mathcal{L}_{t}", "formula omitted"),
        ("x" * 100, "formula omitted"),
    ],
)
def test_formulas_are_read_if_they_are_simple(formula, words):
    assert read_formula(formula) == words


def test_each_sentence_has_its_language():
    found = to_sentences(
        "That is the answer to it. Der Satz ist nicht auf Englisch, und das ist gut. Genau. Привет,"
        " мир! The end of this text is in English. 你好。世界。"
    )
    assert [sentence.language for sentence in found] == ["en", "de", "de", "ru", "en", "zh", "zh"]
