"""What the tower takes a picture for, on real photos, and towers that name nothing."""

import dataclasses
import json
import re

import pytest
import timm
import torch

from mmtui.errors import InputError
from mmtui.pipeline.assets import fetch
from mmtui.pipeline.vision import images
from mmtui.pipeline.vision.tags import Naming
from mmtui.pipeline.vision.tower import VisionTower


@pytest.fixture(scope="module")
def naming(smol):
    return Naming(smol.spec.vision, fetch.locate(smol.spec.vision.weights))


def test_a_photo_of_a_class_is_named_by_it(smol, shared, naming):
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
        said = naming(tower.encode([images.decode(data).image])[0])
        first = re.fullmatch(r"(.+?) \d+(, .+? \d+){0,3}", said)
        assert first, said
        hits += any(word in captions[image["id"]] for word in known[first[1].lower()])
    assert hits / len(chosen) > 0.7


def test_what_is_sure_is_named_alone_and_what_is_not_in_order(naming):
    """Features along the direction of a class make it likely, and nothing else."""
    sure = 40 * torch.nn.functional.normalize(naming.classes[207], dim=0)
    assert naming(sure.expand(25, -1)) == "golden retriever 100"
    chances = [int(n) for n in re.findall(r"\d+", naming((sure / 8).expand(25, -1)))]
    assert chances == sorted(chances, reverse=True)


def test_the_middle_of_a_picture_counts_as_much_as_all_of_it(naming):
    around, thing = (
        60 * torch.nn.functional.normalize(naming.classes[number], dim=0) for number in (0, 207)
    )
    picture = around.repeat(5, 5, 1)
    picture[1:4, 1:4] = thing
    said = naming(picture.flatten(0, 1))
    assert set(said.split(", ")) == {"tench 50", "golden retriever 50"}


def test_weights_without_the_classes_of_imagenet_are_refused(smol, tmp_path):
    with pytest.raises(InputError, match="no classifier"):
        Naming(smol.spec.vision, tmp_path)
    few = tmp_path / "few.pth"
    torch.save({"_fc.weight": torch.zeros(10, 1280), "_fc.bias": torch.zeros(10)}, few)
    with pytest.raises(InputError, match="10 classes"):
        Naming(dataclasses.replace(smol.spec.vision, names=2), few)
