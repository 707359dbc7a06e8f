"""What a mix holds out, and the tests that it writes from it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mmtrain.data import coco, llava, vqa
from mmtrain.recipes.mix import mix
from mmtui.pipeline.assets.fetch import ignore_progress

COLORS = ("red", "white", "brown", "black")


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """Forty captioned photos without a validation part, and questions about half of them."""
    root = tmp_path / "photos"
    (root / "train2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    captions = {}
    for number in range(40):
        name = f"{number:03}.png"
        Image.new("RGB", (9, 9), (number, 0, 0)).save(root / "train2017" / name)
        color = COLORS[number % 4]
        captions[name] = (f"A {color} dog in the sun.", f"The {color} dog on grass.")
    document = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(captions)],
        "annotations": [
            {"image_id": n, "caption": caption}
            for n, texts in enumerate(captions.values())
            for caption in texts
        ],
    }
    (root / "annotations" / "captions_train2017.json").write_text(json.dumps(document))
    rows = [
        {"id": name, "image": name, "conversations": [
            *llava.format_exchange("<image>\nIs this a dog?", "Yes."),
            *llava.format_exchange("What is it doing?", "Sitting."),
        ]}
        for name in list(captions)[::2]
    ]  # fmt: skip
    (root / "annotations" / "instruct.json").write_text(json.dumps(rows))
    return root


def write_mix(root: Path, out: Path) -> Path:
    mix([root], [root / "annotations" / "instruct.json"], [], out, seed=0, report=ignore_progress)
    return out


def read_colors(folder: Path, names: set[str]) -> set[tuple[int, ...]]:
    return {Image.open(folder / name).getpixel((0, 0)) for name in names}


def test_captions_and_questions_about_a_photo_are_on_the_same_side(described, tmp_path):
    out = write_mix(described, tmp_path / "mix")
    split = llava.load_examples(out)
    held = {picture.name for example in split.validation for picture in example.pictures}
    trained = {picture.name for example in split.train for picture in example.pictures}
    assert not held & trained and len(held) == 4 and len(trained) == 36
    expected = {item.image.name for item in coco.load_split(described).validation}
    colors = read_colors(described / "train2017", expected)
    assert read_colors(out / "images", held) == colors
    asked = [e for e in split.train + split.validation if "Is this a dog?" in str(e.turns[0][1])]
    assert len(asked) == 20


def test_held_out_captions_can_be_scored(described, tmp_path):
    out = write_mix(described, tmp_path / "mix")
    items = coco.load_captioned_images(
        out / "captions" / "annotations" / "captions_val2017.json", []
    )
    assert len(items) == 4 and all(len(item.captions) == 2 for item in items)


def test_yes_no_questions_are_a_test_of_their_own(described, tmp_path):
    out = write_mix(described, tmp_path / "mix")
    yes_no, _ = vqa.load_questions(out / "yes-no")
    others, _ = vqa.load_questions(out / "answer")
    assert {(q.text, q.answers) for q in yes_no} == {("Is this a dog?", ("yes",))}
    assert {(q.text, q.answers) for q in others} == {("What is it doing?", ("sitting",))}


def test_colours_and_groups_are_tested(described, tmp_path):
    out = write_mix(described, tmp_path / "mix")
    questions, _ = vqa.load_questions(out / "colour")
    for question in questions:
        assert question.text.startswith("Is the dog") and len(question.wrong) == 1
    assert len(questions) in (2, 4)
    assert not (out / "which").exists()  # every photo shows the same
