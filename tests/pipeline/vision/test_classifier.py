"""Class names of real photos and of artificial features, and weights without a classifier."""

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


def make_features(classifier: Classifier, index: int, length: float) -> np.ndarray:
    """Return features (width,) that make a class probable."""
    row = classifier.weight[index]
    return length * row / np.linalg.norm(row)


def test_photos_are_classified(smol, shared, classifier):
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
        names = classifier.classify(tower.encode([images.decode(data).image])[0].numpy())
        first = re.fullmatch(r"(.+?) \d+(, .+? \d+){0,3}", names)
        assert first, names
        hits += any(word in captions[image["id"]] for word in known[first[1].lower()])
    assert hits / len(chosen) > 0.7


def test_a_certain_class_is_named_alone_and_others_by_probability(classifier):
    """Features in the direction of a class make only this class probable."""
    features = np.tile(make_features(classifier, 207, 40), (25, 1))
    assert classifier.classify(features) == "golden retriever 100"
    features = np.tile(make_features(classifier, 285, 40), (25, 1))
    assert classifier.classify(features) == "egyptian cat 100"
    percentages = [int(n) for n in re.findall(r"\d+", classifier.classify(features / 8))]
    assert percentages == sorted(percentages, reverse=True)


def test_the_middle_of_a_picture_has_the_same_weight_as_the_whole(classifier):
    picture = np.tile(make_features(classifier, 0, 60), (5, 5, 1))
    picture[1:4, 1:4] = make_features(classifier, 207, 60)
    names = classifier.classify(picture.reshape(25, -1))
    assert set(names.split(", ")) == {"tench 50", "golden retriever 50"}


def test_weights_without_the_classes_of_imagenet_are_refused(tmp_path):
    with pytest.raises(InputError, match="no classifier"):
        load_classifier(tmp_path, 2)
    few = tmp_path / "few.pth"
    torch.save({"_fc.weight": torch.zeros(10, 1280), "_fc.bias": torch.zeros(10)}, few)
    with pytest.raises(InputError, match="10 classes"):
        load_classifier(few, 2)
