"""What the tower takes a picture for, on real photos, and towers that name nothing."""

import json
import re

import numpy as np
import pytest
import timm
import torch

from mmtui.errors import InputError
from mmtui.pipeline.assets import fetch
from mmtui.pipeline.vision import images
from mmtui.pipeline.vision.classifier import Classifier, load_classifier
from mmtui.pipeline.vision.tower import VisionTower


@pytest.fixture(scope="module")
def classifier(smol) -> Classifier:
    return load_classifier(fetch.locate(smol.spec.vision.weights), smol.spec.vision.names)


def direction(classifier: Classifier, index: int, length: float) -> np.ndarray:
    """Features that make a class probable, (width,)."""
    row = classifier.weight[index]
    return length * row / np.linalg.norm(row)


def test_a_photo_of_a_class_is_named_by_it(smol, shared, classifier):
    spec = smol.spec.vision
    tower = VisionTower(spec, fetch.locate(spec.weights))
    info = timm.data.ImageNetInfo()
    synonyms = [info.index_to_description(index).lower().split(", ") for index in range(1000)]
    known = {names[0]: names for names in synonyms}
    layout = json.loads((shared / "labels/annotations/captions_train2017.json").read_bytes())
    captions = {a["image_id"]: a["caption"].lower() for a in layout["annotations"]}
    chosen = [i for i in layout["images"] if "imagenet" in i["source"].lower()][:60]
    hits = 0
    for image in chosen:
        data = (shared / "labels/train2017" / image["file_name"]).read_bytes()
        said = classifier.classify(tower.encode([images.decode(data).image])[0].numpy())
        first = re.fullmatch(r"(.+?) \d+(, .+? \d+){0,3}", said)
        assert first, said
        hits += any(word in captions[image["id"]] for word in known[first[1].lower()])
    assert hits / len(chosen) > 0.7


def test_what_is_sure_is_named_alone_and_what_is_not_in_order(classifier):
    """Features along the direction of a class make it likely, and nothing else."""
    sure = np.tile(direction(classifier, 207, 40), (25, 1))
    assert classifier.classify(sure) == "golden retriever 100"
    chances = [int(n) for n in re.findall(r"\d+", classifier.classify(sure / 8))]
    assert chances == sorted(chances, reverse=True)


def test_the_middle_of_a_picture_counts_as_much_as_all_of_it(classifier):
    picture = np.tile(direction(classifier, 0, 60), (5, 5, 1))
    picture[1:4, 1:4] = direction(classifier, 207, 60)
    names = classifier.classify(picture.reshape(25, -1))
    assert set(names.split(", ")) == {"tench 50", "golden retriever 50"}


def test_weights_without_the_classes_of_imagenet_are_refused(tmp_path):
    with pytest.raises(InputError, match="no classifier"):
        load_classifier(tmp_path, 2)
    few = tmp_path / "few.pth"
    torch.save({"_fc.weight": torch.zeros(10, 1280), "_fc.bias": torch.zeros(10)}, few)
    with pytest.raises(InputError, match="10 classes"):
        load_classifier(few, 2)
