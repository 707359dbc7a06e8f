from random import Random

from mmtrain.recipes.consensus import choose_consensus
from mmtrain.recipes.question_templates import Photo, generate_caption_rows

DOG = Photo(
    "dog.jpg",
    (
        "Sheer joy on a lazy Sunday.",
        "A brown dog runs through the grass.",
        "A brown dog runs across the grass.",
        "The brown dog runs in the green grass.",
    ),
)
CAR = Photo("car.jpg", ("A red car on a road.", "A red car.", "My first one!"))


def test_captions_that_agree_with_the_others_are_kept():
    dog, car = choose_consensus([DOG, CAR], 2)
    assert DOG.captions[0] not in dog.descriptions and len(dog.descriptions) == 2
    assert set(car.descriptions) == set(CAR.captions[:2])
    assert dog.captions == DOG.captions  # questions about things are made from all of them


def test_photos_with_few_captions_keep_all():
    label = Photo("sock.jpg", ("A photo of a sock.",))
    assert choose_consensus([label, CAR], 3) == [label, CAR]
    assert choose_consensus([], 1) == []


def test_only_the_consensus_is_taught_as_descriptions():
    rows = list(generate_caption_rows(choose_consensus([DOG, CAR], 1), Random(0)))
    answers = [row.turns[0][1] for row in rows]
    assert len(answers) == 2 and answers[1] in CAR.captions[:2]
