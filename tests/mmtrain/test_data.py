"""Training data in every layout, valid and damaged."""

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


def test_no_picture_is_both_in_training_and_in_validation(shared):
    for split in (
        coco.load_examples(shared / "captions"),
        coco.load_examples(shared / "labels"),
        llava.load_examples(shared / "instruct"),
    ):
        trained = {picture for example in split.train for picture in example.pictures}
        validation = {picture for example in split.validation for picture in example.pictures}
        assert trained and validation and not trained & validation


def test_the_validation_split_does_not_depend_on_the_order():
    names = [f"{n}.jpg" for n in range(100)]
    train, validation = hold_out(names, str)
    again = hold_out(names[::-1] * 2, str)
    assert len(validation) == 10
    assert set(again[1]) == set(validation) and set(again[0]) == set(train)


def write_captions(root: Path, count: int, missing: int = 0) -> Path:
    """Write COCO captions of one image each; the first `missing` images do not exist."""
    (root / "annotations").mkdir()
    (root / "train2017").mkdir()
    images = [{"id": n, "file_name": f"{n}.png"} for n in range(count)]
    for image in images[missing:]:
        Image.new("RGB", (9, 9), (image["id"], 0, 0)).save(root / "train2017" / image["file_name"])
    annotations = [{"image_id": n, "caption": f" A  {n}\n"} for n in range(count)]
    document = {"images": images, "annotations": annotations}
    (root / "annotations" / "captions_train2017.json").write_text(json.dumps(document))
    return root


def test_captions_are_one_line_each_and_skipped_ones_are_counted(tmp_path):
    write_captions(tmp_path, 200, missing=2)
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
    file = write_captions(tmp_path, 3) / "annotations" / "captions_train2017.json"
    file.write_text(file.read_text(), encoding=encoding)
    assert len(coco.load_captioned_images(file, [])) == 3


def test_a_single_image_is_used_for_training(tmp_path):
    split = coco.load_examples(write_captions(tmp_path, 1))
    assert len(split.train) == 1 and not split.validation
    assert any("without validation" in note for note in split.notes)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        ("missing images", r"5 of the 10 images that .*json names are missing, such as '0.png'; "
                        r"searched in .*train2017$"),
        ("cut off", "is cut off"),
        ("empty", "is empty"),
        ("no json", "can't be read as JSON: .* line 2, column 2"),
        ("other json", "contains no COCO captions: images.0.id: Input should be a valid integer"),
        ("no annotations", "contains no caption of its images"),
    ],
)  # fmt: skip
def test_unusable_captions_are_refused_with_the_reason(tmp_path, damage, error):
    write_captions(tmp_path, 10, missing=5 if damage == "missing images" else 0)
    file = tmp_path / "annotations" / "captions_train2017.json"
    content = {
        "missing images": file.read_text(),
        "cut off": file.read_text()[:50],
        "empty": "",
        "no json": '{"images": [],\n }',
        "other json": '{"images": [{"id": "x"}], "annotations": []}',
        "no annotations": '{"images": [], "annotations": []}',
    }
    file.write_text(content[damage])
    with pytest.raises(InputError, match=error):
        coco.load_examples(tmp_path)


def test_blocks_cross_documents_and_contain_every_token(tmp_path, cache):
    texts = [f"Document {n} says {n * n}." for n in range(300)]
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    tokenizer = tokenization.train_tokenizer([file], 300, ignore_progress)
    packed = packing.pack_documents([file], [], tokenizer, ignore_progress)
    end = tokenizer.eos_token
    text = tokenizer.decode(packed.train.tolist()) + tokenizer.decode(packed.validation.tolist())
    assert sorted(text.split(end)[:-1]) == sorted(texts)
    assert packed.documents < 300
    blocks = BlockDataset(packed.train, 16)
    batch = blocks.batch([0, 1])
    assert batch.shape == (2, 17) and batch[0, -1] == batch[1, 0]
    assert batch[:, :-1].flatten().tolist() == packed.train[:32].tolist()
    again = packing.pack_documents([file], [], tokenizer, lambda *_: pytest.fail("tokenized again"))
    assert (again.train == packed.train).all()


def test_an_epoch_has_every_example_once_grouped_by_length():
    lengths = [n % 50 for n in range(1000)]
    sampler = LengthGroupedSampler(lengths, batch_size=8, seed=3)
    epoch = [sampler.batch(step) for step in range(125)]
    assert sorted(index for batch in epoch for index in batch) == list(range(1000))
    spread = [lengths[batch[-1]] - lengths[batch[0]] for batch in epoch]
    assert sum(spread) / len(spread) < 5
    assert sampler.batch(125) != epoch[0]
    assert LengthGroupedSampler(lengths, 8, 3).batch(77) == epoch[77]
    assert LengthGroupedSampler(lengths, 8, 4).batch(77) != epoch[77]
    assert set(LengthGroupedSampler([1, 2, 3], 8, 0).batch(5)) == {0, 1, 2}


def test_a_batch_is_split_over_processes_and_accumulation_steps():
    batch = list(range(8))
    parts = [split_batch(batch, 2, rank, 2) for rank in (0, 1)]
    assert parts == [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]


def test_the_same_seed_generates_the_same_files(tmp_path):
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


def test_answers_about_shapes_match_the_picture(tmp_path):
    """Every answer about a colour names a colour that is in the picture."""
    shapes.generate(tmp_path, 40, 0)
    checked = 0
    for item in json.loads((tmp_path / "vqa" / "questions.json").read_text()):
        colour = shapes.COLOURS.get(item["answer"])
        if colour:
            pixels = Image.open(tmp_path / "vqa" / "images" / item["image"]).getdata()
            assert colour in set(pixels)
            checked += 1
    assert checked


def test_coco_without_a_network_is_an_error_with_the_files_to_download(mmtrain, tmp_path):
    environment = {"http_proxy": "http://127.0.0.1:9"}
    run = mmtrain("data", "coco2017", "--out", tmp_path / "coco", env=environment)
    if "GB free" in run.err:
        pytest.skip("the disk is too small for COCO")
    assert run.code == 3
    assert "can't be reached" in run.err and "train2017.zip" in run.err and "val2017/" in run.err
