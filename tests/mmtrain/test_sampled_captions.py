"""Captions that a model samples, of which the best are kept: `mmtrain data captions`."""

import json
import shutil
from pathlib import Path

import pytest

from mmtrain.data import coco
from mmtrain.data.coco import CAPTION_QUESTION
from mmtrain.evaluation.captions import cider_d
from mmtrain.model import loading
from mmtrain.recipes import sampled_captions
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
    options = ("--photos", 6, "--samples", 4, "--batch", 4, "--seed", 1)
    run = sample(mmtrain, shapes_data, tmp_path / "a", *options)
    assert run.code == 0, run.err
    captions = read_captions(tmp_path / "a")
    photos = {item.image.read_bytes().hex(): item for item in coco.load_split(shapes_data).train}
    assert captions.keys() <= photos.keys()  # those held out are not used
    assert all(len(set(each)) == len(each) <= 2 for each in captions.values())
    assert f"{sum(map(len, captions.values()))} captions" in run.out
    answers = [answer for each in captions.values() for answer in each]
    references = [list(photos[key].captions) for key, each in captions.items() for _ in each]
    assert cider_d(answers, references)[0] > sampled_captions.MIN_SCORE
    sample(mmtrain, shapes_data, tmp_path / "b", *options)
    assert read_captions(tmp_path / "b") == captions


def test_each_question_gets_as_many_answers_as_asked_for(smol, shapes_data):
    photos = [item.image for item in coco.load_split(shapes_data).train[:3]]
    store = loading.load_feature_store(smol, print)
    store.require(photos)
    _, generator = loading.load_generator(smol, store, print)
    questions = [[("user", (photo, CAPTION_QUESTION))] for photo in photos]
    greedy = generator.sample(questions, 3, 2, Sampler(GREEDY))
    assert greedy == [[answer, answer] for answer in generator.generate(questions, 3)]
    varied = generator.sample(questions, 3, 4, Sampler(Sampling(1.0, seed=0)))
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
        (("--model", "nothing"), "nothing"),
    ],
)
def test_options_that_make_no_sense_are_refused(mmtrain, shapes_data, tmp_path, options, message):
    run = sample(mmtrain, shapes_data, tmp_path / "out", *options)
    assert run.code in (2, 3) and message in run.err
    assert not (tmp_path / "out").exists()
