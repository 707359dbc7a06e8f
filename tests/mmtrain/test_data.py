"""Data in every layout, whole and damaged, as users have it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mmtrain.data import coco, llava, packing, shapes, tokenization
from mmtrain.data.dataset import hold_out
from mmtrain.data.packing import BlockDataset
from mmtrain.data.sampler import LengthGroupedSampler, split_batch
from mmtui.errors import InputError
from mmtui.pipeline.assets.fetch import ignore_progress


def test_no_picture_is_in_both_parts(shared):
    for split in (
        coco.load_examples(shared / "captions"),
        coco.load_examples(shared / "labels"),
        llava.load_examples(shared / "instruct"),
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


def test_captions_are_one_line_each_and_what_is_left_out_is_counted(tmp_path):
    captions(tmp_path, 200, missing=2)
    file = tmp_path / "annotations" / "captions_train2017.json"
    document = json.loads(file.read_text())
    document["annotations"] += [{"image_id": 5, "caption": " "}, {"image_id": 999, "caption": "A"}]
    file.write_text(json.dumps(document))
    split = coco.load_examples(tmp_path)
    assert len(split.train) + len(split.validation) == 198
    assert split.train[0].turns[1] == ("assistant", (f"A {split.train[0].pictures[0].stem}",))
    assert split.notes == [
        "captions_train2017.json: 2 images skipped: it is missing (first: '0.png')",
        "captions_train2017.json: 1 caption skipped: it is empty (first: annotation 200)",
        "captions_train2017.json: 1 caption skipped: its image is not listed"
        " (first: annotation 201)",
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_captions_with_a_byte_order_mark_are_read(tmp_path, encoding):
    file = captions(tmp_path, 3) / "annotations" / "captions_train2017.json"
    file.write_text(file.read_text(), encoding=encoding)
    assert len(coco.load_captioned_images(file, [])) == 3


def test_one_image_is_trained_on_without_validation(tmp_path):
    split = coco.load_examples(captions(tmp_path, 1))
    assert len(split.train) == 1 and not split.validation
    assert any("without validation" in note for note in split.notes)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("images gone", r"5 of the 10 images that .*json names are missing, such as '0.png'; "
                        r"searched in .*train2017$"),
        ("cut off", "is cut off"),
        ("empty", "is empty"),
        ("no json", "can't be read as JSON: .* line 2, column 2"),
        ("other json", "holds no COCO captions: images.0.id: Input should be a valid integer"),
        ("no annotations", "holds no caption of its images"),
    ],
)  # fmt: skip
def test_captions_that_are_none_are_told(tmp_path, damage, says):
    captions(tmp_path, 10, missing=5 if damage == "images gone" else 0)
    file = tmp_path / "annotations" / "captions_train2017.json"
    content = {
        "images gone": file.read_text(),
        "cut off": file.read_text()[:50],
        "empty": "",
        "no json": '{"images": [],\n }',
        "other json": '{"images": [{"id": "x"}], "annotations": []}',
        "no annotations": '{"images": [], "annotations": []}',
    }
    file.write_text(content[damage])
    with pytest.raises(InputError, match=says):
        coco.load_examples(tmp_path)


def test_blocks_run_across_documents_and_every_token_is_there(tmp_path, cache):
    texts = [f"Document {n} says {n * n}." for n in range(300)]
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    tokenizer = tokenization.train_tokenizer([file], 300, ignore_progress)
    packed = packing.pack_documents([file], [], tokenizer, ignore_progress)
    end = tokenizer.eos_token
    whole = tokenizer.decode(packed.train.tolist()) + tokenizer.decode(packed.validation.tolist())
    assert sorted(whole.split(end)[:-1]) == sorted(texts)
    assert packed.documents < 300
    blocks = BlockDataset(packed.train, 16)
    batch = blocks.batch([0, 1])
    assert batch.shape == (2, 17) and batch[0, -1] == batch[1, 0]
    assert batch[:, :-1].flatten().tolist() == packed.train[:32].tolist()
    again = packing.pack_documents([file], [], tokenizer, lambda *_: pytest.fail("tokenized again"))
    assert (again.train == packed.train).all()


def test_an_epoch_shows_every_example_once_grouped_by_length():
    lengths = [n % 50 for n in range(1000)]
    order = LengthGroupedSampler(lengths, batch_size=8, seed=3)
    epoch = [order.batch(step) for step in range(125)]
    assert sorted(index for window in epoch for index in window) == list(range(1000))
    spread = [lengths[window[-1]] - lengths[window[0]] for window in epoch]
    assert sum(spread) / len(spread) < 5
    assert order.batch(125) != epoch[0]
    assert LengthGroupedSampler(lengths, 8, 3).batch(77) == epoch[77]
    assert LengthGroupedSampler(lengths, 8, 4).batch(77) != epoch[77]
    assert set(LengthGroupedSampler([1, 2, 3], 8, 0).batch(5)) == {0, 1, 2}


def test_processes_and_batches_share_a_window():
    window = list(range(8))
    parts = [split_batch(window, 2, rank, 2) for rank in (0, 1)]
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


def test_coco_without_a_network_tells_what_to_put_where(mmtrain, tmp_path):
    dead = {"http_proxy": "http://127.0.0.1:9"}
    run = mmtrain("data", "coco2017", "--out", tmp_path / "coco", env=dead)
    if "GB free" in run.err:
        pytest.skip("the disk is too small for COCO")
    assert run.code == 3
    assert "can't be reached" in run.err and "train2017.zip" in run.err and "val2017/" in run.err
