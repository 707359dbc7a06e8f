"""Groups of pictures: what is trained, what is tested, and how a test is scored."""

import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from PIL import Image

from mmtrain.data.vqa import Message, Question, load_questions
from mmtrain.evaluation import vqa
from mmtrain.recipes.properties import PropertyFinder
from mmtrain.recipes.question_templates import Photo, to_sentence
from mmtrain.recipes.which_picture import ORDINALS, generate_group_rows, generate_group_tests
from mmtui.errors import InputError
from mmtui.pipeline.assets.fetch import ignore_progress

THINGS = ("dog", "cat", "pizza", "bus", "clock", "elephant", "giraffe", "horse")
LABELLED = [Photo(label, (f"A photo of {label}.",)) for label in ("a cup", "an owl", "shoes")]


@pytest.fixture
def captioned() -> list[Photo]:
    return [Photo(f"{thing}.jpg", 4 * (f"A red {thing} in the sun.",)) for thing in THINGS]


def get_ordinal(question: str, count: int) -> int:
    words = question.replace("last", ORDINALS[count - 1]).split()
    return next(at for at, word in enumerate(ORDINALS) if word in words)


def test_answers_of_groups_are_about_the_right_picture(captioned):
    properties = list(PropertyFinder(captioned).find(captioned))
    rows = list(generate_group_rows(captioned, properties, 200, Random(0)))
    asked: Counter[tuple[int, str]] = Counter()
    for row in rows:
        things = [image.removesuffix(".jpg") for image in row.images]
        is_in_turns = row.turns[0][0].startswith("<image>")
        assert is_in_turns == (len(row.turns) > 1)
        shown = len(row.images) if is_in_turns else 0
        for at, (question, answer) in enumerate(row.turns):
            if at < shown:
                assert question.startswith("<image>\n") and things[at] in answer
            elif question.startswith(("Which", "In which")):
                (right,) = (n for n, thing in enumerate(things) if thing in question)
                assert ORDINALS[right] in answer
                asked[len(things), ORDINALS[right]] += 1
            elif answer in ("Yes.", "No."):
                thing = things[get_ordinal(question, len(things))]
                assert (answer == "Yes.") == (thing in question)
            else:
                assert things[get_ordinal(question, len(things))] in answer
    for count in (2, 3):
        numbers = [asked[count, ordinal] for ordinal in ORDINALS[:count]]
        assert min(numbers) > 0.6 * max(numbers) > 20
    answers = Counter(answer for row in rows for _, answer in row.turns)
    assert answers["Yes."] == answers["No."] > 50


def test_a_thing_that_may_be_in_two_pictures_is_not_asked_for():
    photos = [
        Photo("a", ("A dog by a red car.",)),
        Photo("b", ("A puppy in traffic, in a car.",)),
        Photo("c", ("A dog with a red car and another car.",)),
    ]
    properties = list(PropertyFinder(photos * 4).find(photos))
    rows = list(generate_group_rows(photos, properties, 20, Random(0)))
    assert rows and not any("Which" in question for row in rows for question, _ in row.turns)


def test_group_tests_ask_for_every_position_and_refuse_the_other_pictures(captioned):
    tests = generate_group_tests(captioned, [], 48, Random(0))
    assert len(tests) == 48
    kinds: Counter[tuple[bool, bool, int]] = Counter()
    for item in tests:
        names = item.get("images") or [message["image"] for message in item["earlier"]]
        asks_which = item["question"].startswith("Which")
        kinds[asks_which, "earlier" in item, len(names)] += 1
        if asks_which:
            thing = names[ORDINALS.index(item["answer"])].removesuffix(".jpg")
            assert thing in item["question"] and item["answer"] not in item["wrong"]
        else:
            at = get_ordinal(item["question"], len(names))
            assert names[at].removesuffix(".jpg") in item["answers"]
            others = {name.removesuffix(".jpg") for name in names} - {*item["answers"]}
            assert others <= {*item["wrong"]}
    assert set(kinds.values()) == {6} and len(kinds) == 8


def test_a_description_counts_by_what_several_captions_of_only_that_picture_say():
    beach = ("A dog runs at the beach.", "A brown dog at the beach by the water.", "A wet animal.")
    road = ("A car on a road by the water.", "A brown car on the road.", "A vehicle.")
    photos = [Photo("beach", beach), Photo("road", road)]
    tests = generate_group_tests(photos, [], 80, Random(0))
    answers = {
        tuple(item["answers"]) for item in tests if "answers" in item and "dog" in item["answers"]
    }
    (words,) = answers
    assert "beach" in words
    # In captions of both, in one caption only, or in any text.
    assert not {"brown", "water", "wet", "runs", "the"} & {*words}


def test_groups_of_labels_name_them():
    rows = list(generate_group_rows(LABELLED, [], 20, Random(0)))
    answers = {answer for row in rows for _, answer in row.turns}
    assert {to_sentence(photo.image) for photo in LABELLED} <= answers


class Parrot:
    """Answers with the pictures that it has seen, and its answers so far."""

    def generate(self, questions: list, batch: int, report: object) -> list[str]:
        answers = []
        for turns in questions:
            pictures = [
                part.stem for _, content in turns for part in content if hasattr(part, "stem")
            ]
            answers.append(f"{' '.join(pictures)} {len(turns)}")
        return answers


def test_earlier_messages_are_answered_first_and_wrong_answers_count():
    cat, bus = Path("cat.png"), Path("bus.png")
    earlier = (Message((cat,), "What is this?"), Message((bus,), "And this?"))
    questions = [
        Question((), "What was it?", ("cat",), earlier=earlier),
        Question((cat, bus), "What is it?", ("bus",)),
        Question((cat, bus), "What is it?", ("bus",), wrong=("cat",)),
    ]
    result = vqa.evaluate(Parrot(), questions, 4, ignore_progress)
    assert [p.prediction for p in result.predictions] == ["cat bus 5", "cat bus 1", "cat bus 1"]
    assert result.values["mentioned"] == pytest.approx(2 / 3)


def test_questions_about_several_pictures_are_loaded(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / "images" / name)
    earlier = [{"image": "a.png", "question": "What is this?"}]
    items = [
        {
            "images": ["a.png", "b.png"],
            "question": "Which?",
            "answer": "first",
            "wrong": ["second"],
        },
        {"earlier": earlier, "question": "What was it?", "answers": ["cat", "kitten"]},
        {"question": "Where?", "answer": "here"},
    ]
    (tmp_path / "questions.json").write_text(json.dumps(items))
    (group, later), notes = load_questions(tmp_path)
    assert [picture.name for picture in group.pictures] == ["a.png", "b.png"]
    assert group.wrong == ("second",)
    assert later.pictures == () and [picture.name for picture in later.all_pictures] == ["a.png"]
    assert "it has no image (first: question 3)" in notes[0]
    (tmp_path / "images" / "b.png").unlink()
    with pytest.raises(InputError, match="missing"):
        load_questions(tmp_path)
