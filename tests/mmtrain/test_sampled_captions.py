"""Captions that a model samples, of which the best are kept: `mmtrain data captions`."""

import json
import shutil
from pathlib import Path

import pytest

from mmtrain.data import coco
from mmtrain.data.coco import CAPTION_QUESTION, CaptionedImage
from mmtrain.evaluation.captions import words
from mmtrain.model import loading
from mmtrain.recipes import sampled_captions
from mmtui.pipeline.assets.fetch import ignore_progress
from mmtui.pipeline.engines.sampling import GREEDY, Sampler, Sampling


def sample(mmtrain, data, out, *options):
    return mmtrain("data", "captions", "--captions", data, "--out", out, *options)


def read_captions(out: Path) -> dict[str, list[str]]:
    """Return the captions by the bytes of their picture."""
    found: dict[str, list[str]] = {}
    for row in json.loads((out / "llava_instruct.json").read_text()):
        (picture,), (question, answer) = row["image"], row["conversations"]
        assert question["value"].startswith("<image>\n")
        digest = (out / "images" / picture).read_bytes().hex()
        found.setdefault(digest, []).append(answer["value"])
    return found


def test_the_best_of_several_samples_are_kept(mmtrain, smol, shapes_data, tmp_path):
    """The real smol describes drawn shapes."""
    run = sample(mmtrain, shapes_data, tmp_path / "out", "--photos", 6, "--samples", 4)
    assert run.code == 0, run.err
    captions = read_captions(tmp_path / "out")
    drawn = {item.image.read_bytes().hex() for item in coco.load_split(shapes_data).train}
    assert captions.keys() <= drawn
    assert all(len(set(each)) == len(each) <= 2 for each in captions.values())
    assert f"{sum(map(len, captions.values()))} captions" in run.out


def test_captions_are_chosen_by_their_score():
    dog = ("A brown dog runs through the grass.", "A brown dog runs on grass.")
    cat = ("A white cat sleeps on a sofa.", "A white cat is on the sofa.")
    sea = ("Waves break at a beach.", "The sea at a beach.")
    items = [CaptionedImage(Path(f"{n}.jpg"), each) for n, each in enumerate((dog, cat, sea))]
    sampled = [
        ["A red car.", dog[0], dog[0].rstrip("."), dog[1], "A brown dog.", ""],
        ["A cow.", cat[0], "A plate."],
        ["", "A man with a phone."],
    ]
    best = list(sampled_captions._choose_best(items, sampled))
    assert [{words(caption) for caption in each} for each in best] == [
        {words(dog[0]), words(dog[1])},
        {words(cat[0])},
        set(),
    ]
    assert [len(each) for each in best] == [2, 1, 0]


def test_held_out_photos_and_doubles_are_not_captioned(shapes_data, tmp_path):
    """A second folder has the same photos, but holds out others."""
    (tmp_path / "annotations").mkdir()
    for source, name in (("train2017", "train_a"), ("val2017", "train_b")):
        (tmp_path / name).symlink_to(shapes_data / source)
        annotations = shapes_data / "annotations" / f"captions_{source}.json"
        shutil.copyfile(annotations, tmp_path / "annotations" / f"captions_{name}.json")
    options = sampled_captions.SamplingOptions(1000, 2, 1.0, 1, 0)
    chosen, _ = sampled_captions._choose_photos([shapes_data, tmp_path], options)
    files = [item.image.resolve() for item in chosen]
    train = {item.image.resolve() for item in coco.load_split(shapes_data).train}
    assert len(files) == len(set(files)) > len(train) / 2 and train.issuperset(files)


def test_each_question_gets_as_many_answers_as_asked_for(smol, shapes_data):
    photos = [item.image for item in coco.load_split(shapes_data).train[:3]]
    store = loading.load_feature_store(smol, ignore_progress)
    store.require(photos)
    _, generator = loading.load_generator(smol, store, ignore_progress)
    questions = [[("user", (photo, CAPTION_QUESTION))] for photo in photos]
    single = generator.generate(questions, 3)
    assert len(set(single)) > 1
    assert generator.sample(questions, 3, 2, Sampler(GREEDY)) == [[each, each] for each in single]
    varied = generator.sample(questions, 3, 4, Sampler(Sampling(3.0, seed=0)))
    assert all(len(answers) == 4 and len(set(answers)) > 1 for answers in varied)


def test_photos_need_several_captions(mmtrain, shapes_data, tmp_path):
    file = tmp_path / "data" / "annotations" / "captions_train2017.json"
    shutil.copytree(shapes_data, tmp_path / "data")
    annotations = json.loads(file.read_text())
    first = {each["image_id"]: each for each in reversed(annotations["annotations"])}
    file.write_text(json.dumps(annotations | {"annotations": list(first.values())}))
    run = sample(mmtrain, tmp_path / "data", tmp_path / "out")
    assert run.code == 4 and "fewer than two photos have several captions" in run.err
    assert not (tmp_path / "out").exists()


def test_a_model_whose_captions_are_all_bad_is_reported(
    mmtrain, tiny_seeing_phi, shapes_data, tmp_path
):
    options = ("--model", tiny_seeing_phi, "--photos", 3)
    run = sample(mmtrain, shapes_data, tmp_path / "out", *options)
    assert run.code == 4 and "train it on captions first" in run.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--samples", 1), "--samples"),
        (("--temperature", 0), "--temperature"),
        (("--temperature", "inf"), "temperature"),
        (("--model", "nothing"), "nothing"),
    ],
)
def test_options_that_make_no_sense_are_refused(mmtrain, shapes_data, tmp_path, options, message):
    run = sample(mmtrain, shapes_data, tmp_path / "out", *options)
    assert run.code in (2, 3) and message in run.err
    assert not (tmp_path / "out").exists()
