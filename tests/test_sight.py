"""The default model describes photos outside of its training data, those of scikit-image."""

from pathlib import Path

import pytest
import skimage

from mmtui.pipeline.assets import checkpoint

PHOTOS = Path(skimage.__file__).parent / "data"
SHIPPED = checkpoint.SHIPPED / "smol"
CAT, COFFEE = ("chelsea.png", ("cat", "tabby")), ("coffee.png", ("coffee", "cup", "espresso"))


@pytest.mark.parametrize(
    ("photo", "names"),
    [
        CAT,
        COFFEE,
        ("rocket.jpg", ("rocket", "missile")),  # ImageNet's word for both
    ],
)
@pytest.mark.parametrize("question", ["What is this?", "What is in this picture?"])
def test_the_object_in_a_photo_is_named(mmtui, smol, photo, names, question):
    run = mmtui("ask", "--model", SHIPPED, "--image", PHOTOS / photo, "--json", question)
    assert run.code == 0, run.err
    answer = run.json
    print(f"{photo}: {question} {answer['answer']}")
    assert any(name in answer["answer"].lower() for name in names)
    assert answer["stop_reason"] == "stop" and answer["usage"]["completion_tokens"] < 60


@pytest.mark.parametrize("pair", [(CAT, COFFEE), (COFFEE, CAT)])
@pytest.mark.parametrize("question", ["What is in the {} picture?", "Describe the {} picture."])
def test_each_of_two_pictures_is_recognized(mmtui, smol, pair, question):
    both = [part for photo, _ in pair for part in ("--image", PHOTOS / photo)]
    for place, (_, names) in zip(("first", "second"), pair, strict=True):
        run = mmtui("ask", "--model", SHIPPED, *both, question.format(place))
        print(f"{place}: {run.out}")
        assert any(name in run.out.lower() for name in names)


@pytest.mark.perf
def test_a_picture_takes_less_than_a_second_and_a_half_to_the_first_word(mmtui, smol):
    """Take the best of three, without the time for loading."""
    took = [
        mmtui("ask", "--model", SHIPPED, "--image", PHOTOS / "chelsea.png", "--json", "What?").json
        for _ in range(3)
    ]
    first = min(answer["timing"]["first_token_s"] for answer in took)
    print(f"picture to first token: {first:.2f} s")
    assert first < 1.5


def test_the_shipped_files_are_small():
    files = [file for file in SHIPPED.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 16_000_000
