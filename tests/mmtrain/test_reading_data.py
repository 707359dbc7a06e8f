"""Pictures with text for training: what is drawn, asked, checked and held out."""

import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from PIL import Image

from mmtrain.data import llava, vqa
from mmtrain.data.texts import read_files
from mmtrain.recipes.reading import questions, tests
from mmtrain.recipes.reading.dataset import is_in, write_reading
from mmtrain.recipes.reading.documents import write_document
from mmtrain.recipes.reading.drawing import draw, find_fonts
from mmtrain.recipes.reading.sources import Locations, load_material
from mmtrain.recipes.reading.words import Words, choose_words, collect_words
from mmtui.errors import InputError
from mmtui.pipeline.assets.fetch import ignore_progress


@pytest.fixture(autouse=True)
def small_tests(monkeypatch) -> None:
    monkeypatch.setattr(tests, "TEXT_PICTURES", 8)


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    """Twenty photos without text, and six labelled pictures."""
    photos, labelled = tmp_path / "photos", tmp_path / "labelled"
    (photos / "train2017").mkdir(parents=True)
    (photos / "annotations").mkdir()
    for number in range(20):
        image = Image.new("RGB", (120, 90), (12 * number, 90, 200))
        image.save(photos / "train2017" / f"{number}.png")
    document = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in range(20)],
        "annotations": [
            {"image_id": n, "caption": "A sign." if n % 2 else "A blue sky."} for n in range(20)
        ],
    }
    (photos / "annotations" / "captions_train2017.json").write_text(json.dumps(document))
    labelled.mkdir()
    labels = [{"image": f"{n}.jpg", "text": f"NUMBER {n}1 HERE"} for n in range(6)]
    for label in labels:
        Image.new("RGB", (90, 60)).save(labelled / label["image"])
    (labelled / "labels.json").write_text(json.dumps(labels))
    return Locations([photos], labelled)


def make_words(seed: int, *, held_out: bool = False) -> Words:
    common, names = collect_words([])
    chosen = (choose_words(part, held_out=held_out) for part in (common, names))
    return Words(Random(seed), *chosen)


@pytest.mark.parametrize("held_out", [False, True])
def test_every_fact_is_written_in_its_document(held_out):
    topics = Counter()
    for seed in range(300):
        document = write_document(make_words(seed, held_out=held_out), held_out=held_out)
        text = "\n".join(f"{line.text} {line.right}" for line in document.lines)
        facts = questions.find_facts(document)
        assert facts
        for fact in facts:
            question, answer = questions.ask(fact, Random(seed))
            assert is_in(fact.value, text) and is_in(fact.value, answer) and "{" not in question
            topics[fact.topic] += 1
        for _, answer in questions.ask_whether(facts, Random(seed)):
            if answer.startswith(("No, ", "There is no")):
                noun = answer.removesuffix(" in the picture.").removesuffix(".").split(" no ")[1]
                assert noun not in {questions.TOPICS[fact.topic].noun for fact in facts}
    assert held_out or topics.keys() == questions.TOPICS.keys()


def test_words_of_text_are_drawn_and_a_quarter_is_held_out():
    names = [f"Mr{chr(97 + n // 26)}{chr(97 + n % 26)}son" for n in range(60)]
    text = " ".join(f"then {name} went{name[2:4]} away." for name in names)
    common, found = collect_words([text] * 3)
    assert set(names) == set(found) and "away" in common and "then" in common
    trained, held_out = (choose_words(found, held_out=side) for side in (False, True))
    assert not set(trained) & set(held_out) and sorted(trained + held_out) == found
    assert 5 < len(held_out) < 30
    assert collect_words(["Too little text."]) == collect_words([])


def test_a_drawn_document_is_recognized(locations):
    photos = [photo.image for photo in load_material(locations)[0].photos]
    fonts, held_out_fonts = find_fonts([])
    assert fonts and held_out_fonts and not set(fonts) & set(held_out_fonts)
    document = write_document(make_words(3), held_out=False)
    first, again = (draw(document, fonts, photos, Random(1)) for _ in range(2))
    assert max(first.size) == 720 and list(first.getdata()) == list(again.getdata())


def test_answers_that_are_not_recognized_are_left_out(locations, tmp_path):
    def read_nothing(files: list[Path]) -> dict[Path, str]:
        return dict.fromkeys(files, "")

    out = tmp_path / "out"
    (note,) = write_reading(locations, out, 8, 0, read_nothing)
    assert "left out: the text was not recognized" in note
    answers = [message["value"] for message in read_messages(out) if message["from"] == "gpt"]
    assert len(answers) == 3
    assert all("no text" in answer or "othing is written" in answer for answer in answers)


def test_what_is_recognized_is_asked_for(locations, tmp_path):
    out = tmp_path / "out"
    write_reading(locations, out, 6, 0, lambda files: read_files(files, ignore_progress))
    split = llava.load_examples(out)
    assert len(split.train) > 6 and split.validation
    texts = read_files(sorted((out / "images").iterdir()), ignore_progress)
    for example in split.train:
        (picture,), answer = example.pictures, str(example.turns[1][1][0])
        value = (
            answer.rstrip(".").split('"')[1] if '"' in answer else answer.rstrip(".").split()[-1]
        )
        is_negative = any(word in answer.lower() for word in ("no ", "nothing"))
        assert is_negative or answer.startswith("Yes") or is_in(value, texts[picture])
    trained = {picture.name for example in split.train for picture in example.pictures}
    held_out = {picture.name for example in split.validation for picture in example.pictures}
    assert not trained & held_out


def test_tests_ask_about_held_out_pictures(locations, tmp_path):
    out = tmp_path / "out"
    write_reading(locations, out, 1, 0, lambda files: dict.fromkeys(files, ""))
    found, _ = vqa.load_questions(out / "text")
    assert len(found) == 8
    labelled = {q.pictures[0].name: q for q in found if "drawn" not in q.pictures[0].name}
    assert labelled.keys() == {"3.jpg", "4.jpg", "5.jpg"}
    assert labelled["3.jpg"].answers == ("31",) and "number" in labelled["3.jpg"].text
    without, _ = vqa.load_questions(out / "no-text")
    expected = {photo.image.read_bytes() for photo in load_material(locations)[1].photos}
    assert 1 <= len(without) <= len(expected) == 2
    for question in without:
        assert question.pictures[0].read_bytes() in expected and "nothing" in question.answers


def test_other_layouts_are_refused(locations, mmtrain, tmp_path):
    with pytest.raises(InputError, match=r"contains no labels\.json"):
        load_material(Locations(labelled=tmp_path))
    with pytest.raises(InputError, match="contains no font"):
        load_material(Locations(fonts=[tmp_path]))
    (tmp_path / "labels.json").write_text('[{"image": "x.jpg"}]')
    with pytest.raises(InputError, match=r"is not a list of labels: 0\.text"):
        load_material(Locations(labelled=tmp_path))
    run = mmtrain("data", "reading", "--out", tmp_path)
    assert (run.code, "is not empty" in run.err) == (2, True)


def read_messages(out: Path) -> list[dict[str, str]]:
    rows = json.loads((out / "llava_instruct.json").read_text("utf-8"))
    return [message for row in rows for message in row["conversations"]]
