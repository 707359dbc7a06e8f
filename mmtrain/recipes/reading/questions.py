"""Questions about the text in a picture. Their answers are words of the text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from mmtrain.recipes.reading.documents import Document, Fact

Exchange = tuple[str, str]


@dataclass(frozen=True)
class Topic:
    """How a fact is asked for.

    Attributes:
        questions: Questions; {subject} is the subject of the fact.
        sentences: Answers; {value} is the value of the fact.
        noun: What is missing in a picture without such a fact; "" if that is not asked.
    """

    questions: tuple[str, ...]
    sentences: tuple[str, ...]
    noun: str = ""


TOPICS = {
    "address": Topic(("What is the address?", "Where is it?"), ("The address is {value}.",)),
    "author": Topic(("Who is the author?", "Who wrote this book?"),
                    ("The author is {value}.", "It is by {value}.")),
    "button": Topic(("What does the button say?", "Which button is there?"),
                    ("The button says \"{value}\".",)),
    "clock": Topic(("What time is it?", "What time does the clock show?"),
                   ("It is {value}.", "The clock shows {value}.")),
    "company": Topic(("Which company is it?", "What is the company?"),
                     ("The company is {value}.",)),
    "date": Topic(("What is the date?", "Which date is written here?", "When was this?"),
                  ("The date is {value}.", "It is dated {value}."), "date"),
    "distance": Topic(("How far is it to {subject}?", "How far is {subject}?"),
                      ("It is {value} to {subject}.", "{subject} is {value} away.")),
    "event": Topic(("What is announced here?", "Which event is this?"), ("It is the {value}.",)),
    "heading": Topic(("What is the heading?", "What is the title?"),
                     ("The heading is \"{value}\".",)),
    "last_line": Topic(("What is the last line?",), ("The last line is \"{value}\".",)),
    "mail": Topic(("What is the email address?", "What is the mail address?"),
                  ("The email address is {value}.",), "email address"),
    "message": Topic(("What does the message say?", "What is the message?"),
                     ("The message says \"{value}\".",)),
    "person": Topic(("Whose card is this?", "Who is it?", "What is the name?"),
                    ("It is the card of {value}.", "The name is {value}.")),
    "phone": Topic(("What is the phone number?", "Which number can I call?"),
                   ("The phone number is {value}.",), "phone number"),
    "place": Topic(("Where is it?", "Where does it take place?"), ("It is at {value}.",)),
    "price": Topic(("How much is the {subject}?", "What does the {subject} cost?",
                    "What is the price of the {subject}?"), ("The {subject} costs {value}.",)),
    "product": Topic(("What is for sale?", "What is this the price of?"), ("It is {value}.",)),
    "sender": Topic(("Who is it from?", "Who wrote this?"), ("It is from {value}.",)),
    "shop": Topic(("Which shop is this?", "What is the name of the shop?", "Where is this from?"),
                  ("It is {value}.", "The shop is {value}.")),
    "sign": Topic(("What does the sign say?", "What is written on the sign?", "Read the sign."),
                  ("The sign says \"{value}\".", "It says \"{value}\".")),
    "tag": Topic(("How much is it?", "What is the price?"), ("It costs {value}.",
                 "The price is {value}.")),
    "ticket": Topic(("How much is a ticket?", "What does a ticket cost?"),
                    ("A ticket costs {value}.",)),
    "time": Topic(("When does it start?", "At what time?"), ("At {value}.",)),
    "title": Topic(("What is the title?", "What is the title of the book?", "Which book is this?"),
                   ("The title is \"{value}\".",)),
    "total": Topic(("What is the total?", "How much is it in total?", "How much was paid?"),
                   ("The total is {value}.",), "total"),
    "window": Topic(("What is the title of the window?",), ("The title is \"{value}\".",)),
    "anything": Topic(("What is written here?", "What does it say?", "Read the text.",
                       "What is written in this picture?"),
                      ("It says \"{value}\".", "\"{value}\" is written here.")),
}  # fmt: skip
NO_TEXT_QUESTIONS = (
    "What is written here?", "What does the sign say?", "Read the text in this picture.",
    "What does it say?", "What is written in this picture?",
)  # fmt: skip
_IS_TEXT_QUESTIONS = ("Is there any text in this picture?", "Is anything written here?")
_NO_TEXT_ANSWERS = (
    "Nothing is written in the picture.", "There is no text in this picture.",
    "Nothing is written here.", "I see no text in the picture.",
)  # fmt: skip
NOTHING = ("nothing", "no text", "no words", "no writing", "not any text")  # accepted in tests
_IS_TEXT_SHARE = 0.1  # of the pictures with text are asked whether there is any
_SENTENCE_SHARE = 0.6  # of the answers
_ABSENT_SHARE = 0.3  # of the pictures are asked for something that is not written in them
_MAX_WORDS = 10  # of a text that is asked for as a whole


def find_facts(document: Document) -> list[Fact]:
    """Return the facts of a document and, if it is short, its text as a whole."""
    text = " ".join(part for line in document.lines for part in (line.text, line.right) if part)
    whole = [Fact("anything", text)] if len(text.split()) <= _MAX_WORDS else []
    return [*document.facts, *whole]


def ask(fact: Fact, rng: Random) -> Exchange:
    """Return a question and its answer, as a sentence or the value alone."""
    topic = TOPICS[fact.topic]
    question = rng.choice(topic.questions).format(subject=fact.subject)
    if rng.random() >= _SENTENCE_SHARE:
        return question, f"{fact.value}."
    sentence = rng.choice(topic.sentences).format(value=fact.value, subject=fact.subject)
    return question, f"{sentence[:1].upper()}{sentence[1:]}"


def ask_whether(facts: Sequence[Fact], rng: Random) -> Iterator[Exchange]:
    """Yield questions whether something is written; `facts` are all that can be asked for."""
    found = {fact.topic: fact.value for fact in facts}
    if rng.random() < _IS_TEXT_SHARE:
        yield rng.choice(_IS_TEXT_QUESTIONS), "Yes, there is text in the picture."
    askable = [name for name, topic in TOPICS.items() if topic.noun]
    present = [name for name in askable if name in found]
    absent = [name for name in askable if name not in found]
    if present and rng.random() < _ABSENT_SHARE:
        name = rng.choice(present)
        yield f"Is there {_add_article(TOPICS[name].noun)}?", f"Yes, {found[name]}."
    if absent and rng.random() < _ABSENT_SHARE:
        name = rng.choice(absent)
        noun = TOPICS[name].noun
        if rng.random() < 0.5:
            yield f"Is there {_add_article(noun)}?", f"No, there is no {noun}."
        else:
            yield rng.choice(TOPICS[name].questions), f"There is no {noun} in the picture."


def ask_about_no_text(rng: Random) -> Exchange:
    """Return a question about a photo without text, and its answer."""
    if rng.random() < 0.2:
        return rng.choice(_IS_TEXT_QUESTIONS), "No, nothing is written here."
    questions = (*NO_TEXT_QUESTIONS, rng.choice(TOPICS["total"].questions),
                 rng.choice(TOPICS["shop"].questions))  # fmt: skip
    return rng.choice(questions), rng.choice(_NO_TEXT_ANSWERS)


def _add_article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
