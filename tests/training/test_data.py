"""Data in every layout, whole and damaged, as users have it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mmtrain.data import coco, llava, packing, shapes
from mmtrain.data.examples import hold_out
from mmtrain.data.order import Order, share
from mmtrain.data.packing import Blocks
from mmtui.errors import InputError
from mmtui.pipeline.assets import silent


def rows(path: Path, *content: dict) -> Path:
    (path / "images").mkdir(exist_ok=True)
    Image.new("RGB", (9, 9), "red").save(path / "images" / "a.png")
    (path / "rows.json").write_text(json.dumps(content))
    return path / "rows.json"


def row(*said: str, image: object = "a.png", **more: object) -> dict:
    speakers = ("human", "gpt") * len(said)
    talk = [{"from": who, "value": text} for who, text in zip(speakers, said, strict=False)]
    return {"id": "1", "conversations": talk} | ({"image": image} if image else {}) | more


def test_pictures_stand_where_their_marks_are(tmp_path):
    file = rows(
        tmp_path,
        row("<image>\nWhat?", "A.", "And?", "B."),
        row("Look: <image> there", "A."),
        row("No mark", "A."),
        row("Only text", "A.", image=None),
        row("Hi", "A.", "And <image> now?", "B."),
    )
    split = llava.read(file)
    picture = tmp_path / "images" / "a.png"
    contents = {example.turns[0][1] for example in split.train + split.validation}
    assert contents == {
        (picture, "\nWhat?"),
        ("Look: ", picture, " there"),
        (picture, "No mark"),
        ("Only text",),
        ("Hi",),
    }
    later = next(e for e in split.train + split.validation if e.turns[0][1] == ("Hi",))
    assert later.turns[2][1] == ("And ", picture, " now?")


def test_rows_that_can_t_be_used_are_counted_once_and_skipped(tmp_path):
    good = [row("Q", f"A{n}.", image=None) | {"id": str(n)} for n in range(20)]
    odd = [
        row("Q"), row("Q", " "), row("<image><image>", "A"),
        row("Q", "A", image="../../etc/passwd"), {"id": "x"},
        {"id": 3, "conversations": "no"}, row("Q", "A", "Q", "<image>"),
        {"conversations": [{"from": "gpt", "value": "first"}, {"from": "human", "value": "Q"}]},
    ]  # fmt: skip
    split = llava.read(rows(tmp_path, *good, *odd, row("Q", "A", image="gone.png")))
    assert len(split.train) + len(split.validation) == 20
    assert len(split.notes) == 2
    assert "1 rows are skipped, their images are missing" in split.notes[0]
    assert f"{len(odd)} odd rows are skipped, as row 20" in split.notes[1]


def test_no_picture_is_in_both_parts(shared):
    for split in (
        coco.read(shared / "captions"),
        coco.read(shared / "labels"),
        llava.read(shared / "instruct"),
    ):
        trained = {picture for example in split.train for picture in example.pictures}
        held = {picture for example in split.validation for picture in example.pictures}
        assert trained and held and not trained & held


def test_what_is_held_out_does_not_depend_on_the_order():
    names = [f"{n}.jpg" for n in range(100)]
    train, held = hold_out(names, str)
    again = hold_out(names[::-1] * 2, str)
    assert len(held) == 10 and set(again[1]) == set(held) and set(again[0]) == set(train)


def captions(root: Path, count: int, missing: int = 0) -> Path:
    (root / "annotations").mkdir()
    (root / "train2017").mkdir()
    images = [{"id": n, "file_name": f"{n}.png"} for n in range(count)]
    for image in images[missing:]:
        Image.new("RGB", (9, 9), (image["id"], 0, 0)).save(root / "train2017" / image["file_name"])
    said = [{"image_id": n, "caption": f" A  {n}\n"} for n in range(count)]
    document = {"images": images, "annotations": said}
    (root / "annotations" / "captions_train2017.json").write_text(json.dumps(document))
    return root


def test_captions_are_one_line_each_and_a_few_missing_images_are_told(tmp_path):
    split = coco.read(captions(tmp_path, 200, missing=2))
    assert len(split.train) + len(split.validation) == 198
    assert split.train[0].turns[1] == ("assistant", (f"A {split.train[0].pictures[0].stem}",))
    assert "2 images are missing" in split.notes[0]


@pytest.mark.parametrize("damage", ["images gone", "no json", "other json", "no annotations"])
def test_captions_that_are_none_are_told(tmp_path, damage):
    captions(tmp_path, 10, missing=5 if damage == "images gone" else 0)
    file = tmp_path / "annotations" / "captions_train2017.json"
    if damage == "no json":
        file.write_bytes(file.read_bytes()[:50])
    if damage == "other json":
        file.write_text('{"images": [{"id": "x"}], "annotations": []}')
    if damage == "no annotations":
        file.write_text('{"images": [], "annotations": []}')
    says = "5 of the 10 images" if damage == "images gone" else "captions"
    with pytest.raises(InputError, match=says):
        coco.read(tmp_path)


def test_blocks_run_across_documents_and_every_token_is_there(tmp_path, cache):
    texts = [f"Document {n} says {n * n}." for n in range(300)]
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    tokenizer = packing.learnt_tokenizer([file], 300, silent)
    packed = packing.pack([file], [], tokenizer, silent)
    end = tokenizer.eos_token
    whole = tokenizer.decode(packed.train.tolist()) + tokenizer.decode(packed.validation.tolist())
    assert sorted(whole.split(end)[:-1]) == sorted(texts)
    assert packed.documents < 300
    blocks = Blocks(packed.train, 16)
    batch = blocks.batch([0, 1])
    assert batch.shape == (2, 17) and batch[0, -1] == batch[1, 0]
    assert batch[:, :-1].flatten().tolist() == packed.train[:32].tolist()
    again = packing.pack([file], [], tokenizer, lambda *_: pytest.fail("tokenized again"))
    assert (again.train == packed.train).all()


def test_an_epoch_shows_every_example_once_grouped_by_length():
    lengths = [n % 50 for n in range(1000)]
    order = Order(lengths, window=8, seed=3)
    epoch = [order.window(step) for step in range(125)]
    assert sorted(index for window in epoch for index in window) == list(range(1000))
    spread = [lengths[window[-1]] - lengths[window[0]] for window in epoch]
    assert sum(spread) / len(spread) < 5
    assert order.window(125) != epoch[0]
    assert Order(lengths, 8, 3).window(77) == epoch[77]
    assert Order(lengths, 8, 4).window(77) != epoch[77]
    assert set(Order([1, 2, 3], 8, 0).window(5)) == {0, 1, 2}


def test_processes_and_batches_share_a_window():
    window = list(range(8))
    parts = [share(window, 2, rank, 2) for rank in (0, 1)]
    assert parts == [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]


def test_shapes_are_the_same_bytes_for_the_same_seed(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        shapes.generate(tmp_path / name, 12, seed)
    files = [
        {
            p.relative_to(tmp_path / n): p.read_bytes()
            for p in (tmp_path / n).rglob("*")
            if p.is_file()
        }
        for n in "abc"
    ]
    assert files[0] == files[1] != files[2]


def test_shapes_say_what_is_drawn(tmp_path):
    """Every answer about a colour names a colour that is in the picture."""
    shapes.generate(tmp_path, 40, 0)
    asked = 0
    for item in json.loads((tmp_path / "vqa" / "questions.json").read_text()):
        colour = shapes.COLOURS.get(item["answer"])
        if colour:
            pixels = Image.open(tmp_path / "vqa" / "images" / item["image"]).getdata()
            assert colour in set(pixels)
            asked += 1
    assert asked


def test_check_counts_what_training_would_find(mmtrain, session_cache, tmp_path):
    captions(tmp_path, 30)
    for name in ("3.png", "4.png"):
        (tmp_path / "train2017" / name).write_bytes(b"no picture")
    run = mmtrain("data", "check", tmp_path, "--model", "smol", "--json")
    if "could not be fetched" in run.err:
        pytest.skip("the weights of smol are not here")
    assert run.code == 4
    assert run.json["images"] == 30 and run.json["broken_images"] == 2
    assert {Path(x["image"]).name for x in run.json["broken"]} == {"3.png", "4.png"}


def test_coco_without_a_network_tells_what_to_put_where(mmtrain, tmp_path):
    dead = {"http_proxy": "http://127.0.0.1:9"}
    run = mmtrain("data", "coco2017", "--out", tmp_path / "coco", env=dead)
    if "GB free" in run.err:
        pytest.skip("the disk is too small for COCO")
    assert run.code == 3
    assert "can't be reached" in run.err and "train2017.zip" in run.err and "val2017/" in run.err
