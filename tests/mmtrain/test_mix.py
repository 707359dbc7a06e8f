"""The set of dialogues for finetune: what is asked, of which pictures, and what is held out."""

import json
import re
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from mmtrain.data import llava
from mmtrain.recipes import pseudo_labels, question_templates
from mmtrain.recipes.mix import mix
from mmtrain.recipes.question_templates import (
    Photo,
    format_presence_question,
    generate_presence_rows,
)
from mmtui.pipeline.assets.fetch import ignore_progress

LABELS = ("a samoyed", "a t-shirt", "a pants", "a royal gala in a grocery store")


def coco_set(root: Path, captions: list[list[str]], split: str = "train2017") -> Path:
    folder = root / split
    folder.mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    for number in range(len(captions)):
        Image.new("RGB", (9, 9), (number, len(split), 9)).save(folder / f"{number}.png")
    document = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in range(len(captions))],
        "annotations": [
            {"image_id": n, "caption": caption}
            for n, described in enumerate(captions)
            for caption in described
        ],
    }
    (root / "annotations" / f"captions_{split}.json").write_text(json.dumps(document))
    return root


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    described = ["A dog runs on grass.", "A brown dog plays."], ["Two men ride a bus."]
    labels = [[f"A photo of {label}."] for label in LABELS * 10]
    photos = coco_set(tmp_path / "photos", [*described] * 10)
    coco_set(tmp_path / "photos", [["A cat on a bed."]] * 3, "val2017")
    rows = [
        {
            "id": str(n), "image": f"{n}.png",
            "conversations": [
                {"from": "human", "value": "What is on the table?\n<image>"},
                {"from": "gpt", "value": "Books."},
            ],
        }
        for n in range(10)
    ]  # fmt: skip
    (tmp_path / "rows" / "images").mkdir(parents=True)
    for n in range(10):
        Image.new("RGB", (9, 9), (0, 0, n)).save(tmp_path / "rows" / "images" / f"{n}.png")
    (tmp_path / "rows" / "rows.json").write_text(json.dumps(rows))
    text = {"text": " ".join(f"word{n}" for n in range(200))}
    (tmp_path / "text.jsonl").write_text(json.dumps(text) + "\n")
    out = tmp_path / "mix"
    sets = [photos, coco_set(tmp_path / "labels", labels)]
    assert mix(sets, [tmp_path / "rows"], [tmp_path / "text.jsonl"], out, seed=1) == []
    return out


def test_a_mix_is_read_as_it_was_held_out(mixed):
    split = llava.load_examples(mixed)
    assert split.notes == []
    validation = {picture.name for example in split.validation for picture in example.pictures}
    training = {picture.name for example in split.train for picture in example.pictures}
    assert not validation & training
    assert len(training) == 20 + 36 + 9 and len(validation) == 3 + 4 + 1
    questions = Counter(str(e.turns[0][1][-1]).strip() for e in split.train)
    assert questions["Describe this picture."] > 5 and questions["What is this?"] > 10
    answers = {str(turn[0]) for e in split.train for role, turn in e.turns if role == "assistant"}
    assert {
        "A samoyed.",
        "Pants.",
        "A royal gala.",
        "Books.",
        "Yes.",
        "No.",
        "The first.",
    } <= answers
    continuation = next(e for e in split.train if "Continue" in str(e.turns[0][1]))
    assert not continuation.pictures
    assert continuation.turns[0][1][0].split()[-1] == "word59"
    assert continuation.turns[1][1][0].split()[0] == "word60"


def test_questions_with_short_answers_are_rows_of_their_own(tmp_path):
    """In one dialogue, a model would learn to rely on earlier answers."""
    short = ("Two.", "A lamp, and a book.")
    long = ("Two.", "They stand there as if nobody had ever sat on them.")
    Image.new("RGB", (9, 9)).save(tmp_path / "0.png")
    Image.new("RGB", (9, 9), "red").save(tmp_path / "1.png")
    rows = [
        {"id": f"{n}", "image": f"{n % 2}.png", "conversations": [
            *llava.format_exchange("<image>\nHow many chairs?", first),
            *llava.format_exchange("What about them?", second),
        ]}
        for n, (first, second) in enumerate([short, long])
    ]  # fmt: skip
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "rows_val.json").write_text(json.dumps(rows[:1]))
    mix([], [tmp_path / "rows.json"], [], tmp_path / "mix", seed=0)
    split = llava.load_examples(tmp_path / "mix")
    contents = sorted([turn[-1].strip() for _, turn in e.turns] for e in split.train)
    assert contents == [
        ["How many chairs?", "Two."],
        ["How many chairs?", "Two.", "What about them?", long[1]],
        ["What about them?", "A lamp, and a book."],
    ]
    assert all(len(e.pictures) == 1 for e in split.train) and len(split.validation) == 2


def test_the_same_seed_gives_the_same_mix(mixed, tmp_path):
    again = tmp_path / "again"
    sets = [tmp_path / "photos", tmp_path / "labels"]
    mix(sets, [tmp_path / "rows"], [tmp_path / "text.jsonl"], again, seed=1)
    for name in ("llava_instruct.json", "llava_instruct_val.json", "present/questions.json"):
        assert (again / name).read_bytes() == (mixed / name).read_bytes()


def test_tests_do_not_depend_on_the_text_for_training(mixed, tmp_path):
    text = tmp_path / "text.jsonl"
    text.write_bytes(50 * text.read_bytes())
    sets = [tmp_path / "photos", tmp_path / "labels"]
    mix(sets, [tmp_path / "rows"], [text], tmp_path / "more", seed=1)
    for test in ("name", "present", "answer"):
        questions = f"{test}/questions.json"
        assert (tmp_path / "more" / questions).read_bytes() == (mixed / questions).read_bytes()


def test_tests_ask_about_held_out_pictures_only(mixed):
    validation = {p.name for e in llava.load_examples(mixed).validation for p in e.pictures}
    for name in ("name", "present", "answer"):
        questions = json.loads((mixed / name / "questions.json").read_bytes())
        assert {question["image"] for question in questions} <= validation
        assert all((mixed / name / "images" / q["image"]).is_file() for q in questions)
    answers = json.loads((mixed / "answer" / "questions.json").read_bytes())
    assert answers == [
        {"image": answers[0]["image"], "question": "What is on the table?", "answer": "books"}
    ]


def test_presence_asks_as_often_for_what_is_there_as_for_what_is_not(shared):
    from mmtrain.data import coco

    train = coco.load_split(shared / "captions").train
    photos = [Photo(item.image.name, item.captions) for item in train]
    rows = list(generate_presence_rows(photos, 4, Random(0)))
    answers = Counter(answer for row in rows for _, answer in row.turns)
    assert answers["Yes."] / answers.total() == pytest.approx(0.5, abs=0.03)
    captions = {photo.image: " ".join(photo.captions).lower() for photo in photos}
    for row in rows:
        for question, answer in row.turns:
            if "a dog" in question:
                assert (answer == "Yes.") == bool(re.search("dog|pupp", captions[row.images[0]]))


def test_the_things_of_a_kind_are_not_asked_for_as_absent():
    photo = Photo("a.jpg", ("A player kicks a ball.", "Children on a field."))
    others = Photo("b.jpg", ("A man with a dog and a cat, on a bus, by the sea.",)), photo
    for seed in range(50):
        for row in generate_presence_rows([photo, *others], 4, Random(seed)):
            if row.images == ("a.jpg",):
                absent = {question for question, answer in row.turns if answer == "No."}
                people = ("a man", "a person", "a child")
                assert not {format_presence_question(thing) for thing in people} & absent


def test_presence_is_trained_in_several_words_and_tested_in_one():
    photos = [Photo(label, (f"A photo of {label}.",)) for label in ("a cup", "a cat", "shoes")]
    tested = list(generate_presence_rows(photos, 1, Random(0)))
    assert all(q.endswith("Answer yes or no.") for row in tested for q, _ in row.turns)
    templates = set()
    for seed in range(50):
        for row in generate_presence_rows(photos, 1, Random(seed), paraphrase=True):
            for question, answer in row.turns:
                assert (answer == "Yes.") == (row.images[0] in question)
                (thing,) = (photo.image for photo in photos if photo.image in question)
                templates.add(question.replace(thing, "X"))
    assert templates >= {
        format_presence_question("X"),
        "Is there X?",
        "Do you see X?",
        "Is this X?",
    }


def test_answers_about_two_pictures_refer_to_the_right_one():
    photos = [Photo(label, (f"A photo of {label}.",)) for label in ("a cup", "a cat", "shoes")]
    rows = list(question_templates.generate_pair_rows(photos, 60, Random(1)))
    assert len(rows) == 60
    for row in rows:
        for question, answer in row.turns:
            ordinal = next((n for n, word in enumerate(("first", "second")) if word in question), 0)
            if question.startswith("Which"):
                named = question.removeprefix("Which picture shows ").partition(",")[0]
                assert answer == ("The first." if row.images[0] == named else "The second.")
            elif "was" in question or "picture" in question:
                assert answer == question_templates.to_sentence(row.images[ordinal])


def test_labels_are_things_with_their_articles():
    expected = {
        "A photo of a carrots in a grocery store.": "carrots",
        "A photo of an espresso maker.": "an espresso maker",
        "A photo of a dress.": "a dress",
        "a photo of pants": "pants",
        "A dog in the snow.": None,
    }
    for caption, label in expected.items():
        assert Photo("x", (caption,)).label == label
    assert Photo("x", ("A photo of a cat.", "A cat.")).label is None


def test_nothing_to_ask_about_and_a_full_folder_are_reported(mmtrain, tmp_path):
    run = mmtrain("data", "mix", "--out", tmp_path / "x")
    assert (run.code, "pass --captions DIR or --dialogues" in run.err) == (2, True)
    (tmp_path / "file").touch()
    run = mmtrain("data", "mix", "--captions", tmp_path, "--out", tmp_path)
    assert (run.code, "is not empty" in run.err) == (2, True)


def test_plain_answers_are_those_of_the_model(mmtrain, mmtui, tmp_path):
    """The real smol, without its adapter for pictures."""
    out = tmp_path / "chats.json"
    run = mmtrain("data", "chats", "--model", "smol", "--limit", 4, "--out", out)
    assert run.code == 0, run.err
    split = llava.load_examples(out)
    examples = split.train + split.validation
    assert 1 <= len(examples) <= 4
    for example in examples:
        (_, (question,)), (_, (answer,)) = example.turns
        assert len(str(question)) > 3 and len(str(answer)) > 3


ANSWERS = {
    "What colour is the door?": "Red.", "What colour is the sky?": "Blue.",
    "How many are there?": "2.", "What is on the table?": ("A lamp.", "A cup."),
}  # fmt: skip


def get_answer(question, number):
    """Return the answer; cups are on the tables of odd pictures."""
    answer = ANSWERS[question]
    return answer if isinstance(answer, str) else answer[number % 2]


def test_questions_are_asked_about_other_pictures_with_the_most_probable_answers():
    kinds = list(ANSWERS)
    rows = [
        {"image": [f"{n}.png"], "conversations": llava.format_exchange(f"<image>\n{asked}", answer)}
        for n in range(40)
        for asked in (kinds[n // 2 % 4], kinds[(n // 2 + 1) % 4])
        for answer in [get_answer(asked, n) if n else "17."]
    ]
    features = {f"{n}.png": np.eye(8)[n % 2] + 0.1 * np.eye(8)[n % 7] for n in range(39)}
    known = {(row["image"][0], row["conversations"][0]["value"]) for row in rows}

    def load_features(names):
        return {name: features[name] for name in names if name in features}

    labelled = list(
        pseudo_labels.generate_pseudo_labels(rows, 3, load_features, Random(0), ignore_progress)
    )
    asked = [(row["image"][0], row["conversations"][0]["value"]) for row in labelled]
    assert not known & set(asked)
    assert 30 < len({picture for picture, _ in asked} & set(features)) == len(dict(asked))
    assert 60 < len(labelled) < 2 * len(rows)
    for row in labelled:
        question, answer = (
            part["value"].removeprefix("<image>\n") for part in row["conversations"]
        )
        assert answer == get_answer(question, int(row["image"][0].removesuffix(".png")))


def test_a_mix_asks_elsewhere_only_on_demand(mmtrain, tmp_path):
    (tmp_path / "rows" / "images").mkdir(parents=True)
    rows = []
    for n in range(40):
        Image.new("RGB", (9, 9), (0, 0, 6 * n)).save(tmp_path / "rows" / "images" / f"{n}.png")
        exchanges = [
            part
            for question in list(ANSWERS)[n % 2 :: 2]
            for part in (question, get_answer(question, n))
        ]
        talk = llava.format_exchange(*exchanges[:2]) + llava.format_exchange(*exchanges[2:])
        rows.append({"id": str(n), "image": f"{n}.png", "conversations": talk})
    (tmp_path / "rows" / "images" / "40.png").write_text("no picture")
    rows.append({"id": "40", "image": "40.png", "conversations": talk})
    (tmp_path / "rows" / "rows.json").write_text(json.dumps(rows))
    mixed = []
    for option, times in (("--pseudo-labels", 0), ("--pseudo-labels", 2), ("--elsewhere", 2)):
        out = tmp_path / f"{option}{times}"
        run = mmtrain("data", "mix", "--dialogues", tmp_path / "rows", option, times, "--out", out)
        assert run.code == 0, run.err
        mixed.append(json.loads((out / "llava_instruct.json").read_text()))
    added = mixed[1][len(mixed[0]) :]
    assert mixed[1] == mixed[2] == mixed[0] + added
    assert len(mixed[0]) / 3 < len(added) <= 2 * len(mixed[0])
    pictures = {row["image"][0] for row in added}
    assert len(pictures) > 20 and "000040.png" not in pictures  # which is no picture
    tests = [tmp_path / f"--pseudo-labels{n}" / "answer" / "questions.json" for n in (0, 2)]
    assert tests[0].read_bytes() == tests[1].read_bytes()


def test_a_mix_teaches_only_captions_that_agree(mmtrain, tmp_path):
    """Held-out captions are all kept, because they are what descriptions are scored against."""
    dog = ["Sheer joy.", "A dog runs on grass.", "A dog runs on the grass.", "A dog runs fast."]
    car = ["A red car.", "A red car on a road.", "My first one.", "There is a red car."]
    photos = coco_set(tmp_path / "photos", [dog, car] * 10)
    run = mmtrain(
        "data", "mix", "--captions", photos, "--captions-per-photo", 1, "--out", tmp_path / "mix"
    )
    assert run.code == 0, run.err
    rows = json.loads((tmp_path / "mix" / "llava_instruct.json").read_text())
    answers = {row["conversations"][1]["value"] for row in rows if len(row["image"]) == 1}
    assert answers & {*dog, *car} == {"A dog runs on grass.", "A red car."}
    kept = json.loads((tmp_path / "mix/captions/annotations/captions_val2017.json").read_text())
    assert len(kept["annotations"]) == 4 * len(kept["images"])


def test_a_mix_of_one_picture_holds_nothing_out_and_keeps_written_tags(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "images" / "a.png")
    question = "<image>\nWhat does the <image> tag on this page mean? Tell me in a few words."
    rows = [
        {
            "id": "1",
            "image": "a.png",
            "conversations": llava.format_exchange(question, "A picture."),
        }
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    notes = mix([], [tmp_path / "rows.json"], [], tmp_path / "mix", seed=0)
    assert any("without validation" in note for note in notes)
    split = llava.load_examples(tmp_path / "mix")
    (example,) = split.train
    assert len(example.pictures) == 1 and "the <image> tag" in str(example.turns[0][1][1])
