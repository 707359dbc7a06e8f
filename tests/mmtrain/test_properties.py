"""Colours and sizes in captions, and the questions about them."""

from collections import Counter
from random import Random

import pytest

from mmtrain.recipes.properties import Property, PropertyFinder
from mmtrain.recipes.property_questions import generate_property_rows, match_choices
from mmtrain.recipes.question_templates import Photo

COLORS = ("brown", "white", "black", "red")


def make_photos() -> list[Photo]:
    """Photos of dogs, shirts and cars in several colours and sizes; each is named twice."""
    photos = []
    for number in range(48):
        color, size = COLORS[number % 4], ("big", "small")[number // 4 % 2]
        thing = ("dog", "shirt", "car")[number // 8 % 3]
        captions = (f"A {color} {thing} in the sun.", f"The {color} {thing} of a man.")
        photos.append(Photo(f"{number}.jpg", (*captions, f"A {size} {thing}.")))
    return photos


@pytest.fixture
def found() -> list[Property]:
    photos = make_photos()
    return list(PropertyFinder(photos).find(photos))


def find(*captions: str) -> set[tuple[str, tuple[str, ...]]]:
    """Return the nouns and values that are found in captions beside `make_photos`."""
    photo = Photo("x.jpg", captions)
    finder = PropertyFinder([*make_photos(), photo])
    return {(found.noun, found.values) for found in finder.find([photo])}


def test_colours_and_sizes_of_things_are_found(found):
    assert len(found) == 2 * 48
    assert found[0].noun == "dog" and found[0].values == ("brown",) and found[0].captions == 2
    assert found[1].kind == "size" and found[1].values == ("big",) and found[1].captions == 1
    assert {f.noun for f in found} == {"dog", "shirt", "car"}


def test_of_things_with_several_colours_all_are_found_and_contradictions_are_left_out():
    assert find("A black and white dog in the sun.") == {("dog", ("black", "white"))}
    assert find("A big, light brown dog.") == {("dog", ("brown",))}
    assert find("A man in a grey shirt.") == {("shirt", ("gray",))}
    assert find("A red dog.", "The white dog.") == set()
    assert find("Two red dogs.", "One white dog.", *4 * ["Two dogs."]) == set()
    assert find("A black and white photo of a red dog.") == set()
    race_cars = ("A race car.", "The race car.") * 2
    assert find("A red race car.", *race_cars) == {("race car", ("red",))}
    assert find("A red man in white runs.") == set()  # neither is a thing with a colour


def test_each_choice_has_a_counterpart_with_the_other_answer(found):
    choices = match_choices(found, found, Random(0))
    assert len(choices) > 60
    questions = [c.question.split(" the ")[1].split(" ", 1)[1] for c in choices]
    answers = Counter(zip(questions, (c.asked.values[0] for c in choices), strict=True))
    for choice in choices:
        words = choice.question.rstrip("?").split()
        first, second = words[-3], words[-1]
        assert {first, second} == {choice.asked.values[0], choice.wrong}
        assert choice.wrong not in " ".join(choice.asked.photo.captions)
    assert sum(choice.is_right_first for choice in choices) == len(choices) // 2
    assert len({c.asked for c in choices}) == len(choices)
    for question, answer in answers:
        (other,) = {*question.rstrip("?").split(" or ")} - {answer}
        assert answers[question, other] == answers[question, answer]


def test_rows_answer_with_what_the_captions_state(found):
    photos = {photo.image: " ".join(photo.captions) for photo in make_photos()}
    rows = list(generate_property_rows(found, Random(0)))
    answers = Counter(turn[1] for row in rows for turn in row.turns)
    assert 10 < answers["Yes."] < 2 * answers["No."] < 4 * answers["Yes."]
    for row in rows:
        ((question, answer),) = row.turns
        words = answer.lower().rstrip(".").split()
        if words[0] in ("yes", "no"):
            value = question.rstrip("?").split()[-1]
            assert (words[0] == "yes") == (value in photos[row.images[0]])
        else:
            assert words[-1] in photos[row.images[0]]
            assert question.startswith(("Is the", "What color is the", "What colour is the"))


def test_plural_things_have_a_plural_verb():
    captions = ("Two black dogs.", "A man in red pants.", "The white glass.")
    photos = [Photo(str(n), (caption,)) for n, caption in enumerate(captions * 5)]
    verbs = {found.noun: found.verb for found in PropertyFinder(photos).find(photos)}
    assert verbs == {"dogs": "are", "pants": "are", "glass": "is"}
