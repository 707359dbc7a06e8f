"""LLaVA-Instruct rows: pictures, text, and rows that are skipped."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mmtrain.data import llava
from mmtrain.data.dataset import Example, Split
from mmtui.errors import InputError


def row(*texts: str, **fields: object) -> dict:
    """Return a row in which a person and a model speak in turn."""
    speakers = ("human", "gpt") * len(texts)
    conversations = [
        {"from": who, "value": text} for who, text in zip(speakers, texts, strict=False)
    ]
    return {"id": "1", "conversations": conversations} | fields


def read(root: Path, *rows: object, encoding: str = "utf-8") -> Split:
    """Write rows beside the images a.png and b.png, and load them."""
    (root / "images").mkdir(exist_ok=True)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (9, 9), "red").save(root / "images" / name)
    (root / "rows.json").write_text(json.dumps(rows), encoding=encoding)
    return llava.load_examples(root)


def get_only_example(split: Split) -> Example:
    """Return the one example of a split."""
    (example,) = split.train + split.validation
    return example


A, B = "a.png", "b.png"


@pytest.mark.parametrize(
    ("given", "content"),
    [
        (row("<image>\nWhat?", "A.", image=A), (A, "\nWhat?")),
        (row("Look: <image> there", "A.", image=A), ("Look: ", A, " there")),
        (row("No tag", "A.", image=A), (A, "No tag")),
        (row("No tag", "A.", images=[A, B]), (A, B, "No tag")),
        (row("<image> what?", "A.", images=[A]), (A, " what?")),
        (row("<image> what?", "A.", images=A), (A, " what?")),
        (row("<image> or <image>?", "A.", image=[A, B]), (A, " or ", B, "?")),
        (row("Only text", "A."), ("Only text",)),
        (row("Only text", "A.", image=None), ("Only text",)),
        (row("Only text", "A.", image=[]), ("Only text",)),
        (row("Only text", "A.", image=""), ("Only text",)),
        (row("Only text", "A.", images=[""]), ("Only text",)),
        (row("What is the <image> tag in HTML?", "A."), ("What is the <image> tag in HTML?",)),
        (row("`<image>` means what?", "A.", image=A), (A, "`<image>` means what?")),
        (
            row("<image>\nWhat is the <image> tag on this page?", "A.", image=A),
            (A, "\nWhat is the <image> tag on this page?"),
        ),
        (
            row("What closes '<image>' here?\n<image>", "A.", image=A),
            ("What closes '<image>' here?\n", A),
        ),
        (row("What is this?", "An <image> tag.", image=A), (A, "What is this?")),
    ],
)
def test_pictures_are_placed_at_their_tags(tmp_path, given, content):
    found = get_only_example(read(tmp_path, given)).turns[0][1]
    assert tuple(p.name if isinstance(p, Path) else p for p in found) == content


def test_a_tag_in_an_answer_is_text(tmp_path):
    example = get_only_example(read(tmp_path, row("Q", "Write `<image>` or <image>.", image=A)))
    assert example.turns[1][1] == ("Write `<image>` or <image>.",)


def test_a_picture_is_placed_in_the_turn_of_its_tag(tmp_path):
    example = get_only_example(read(tmp_path, row("Hi", "A.", "And <image> now?", "B.", image=A)))
    assert example.turns[0][1] == ("Hi",)
    assert example.turns[2][1] == ("And ", tmp_path / "images" / A, " now?")


INVALID = {
    "it is not a JSON object": ["text", None],
    '"conversations": Field required': [{"id": "x"}],
    '"conversations": Input should be a valid list': [{"id": 3, "conversations": "no"}],
    '"image": Input should be a valid string': [row("Q", "A", image=5)],
    "unknown speaker 'narrator'": [{"conversations": [{"from": "narrator", "value": "Q"}]}],
    "human and gpt do not alternate": [
        row("Q"), {"conversations": row("Q", "A")["conversations"][::-1]}, {"conversations": []},
    ],
    "an empty answer": [row("Q", " "), row("<image>", "", image=A)],
    "an empty question": [row("", "A")],
    "an answer that is only <image>": [row("Q", "<image>", image=A)],
    "the numbers of <image> tags and of images differ": [
        row("<image><image>", "A", image=A), row("<image>", "A", image=[A, B]),
    ],
    "an <image> tag but no image": [row("<image>\nWhat?", "A"), row("Q\n<image>", "A")],
}  # fmt: skip


def test_invalid_rows_are_counted_by_reason(tmp_path):
    good = [row("Q", f"A{n}.") | {"id": str(n)} for n in range(20)]
    split = read(tmp_path, *good, *(row for rows in INVALID.values() for row in rows))
    assert len(split.train) + len(split.validation) == 20
    notes = "\n".join(split.notes)
    for reason, rows in INVALID.items():
        things = "row" if len(rows) == 1 else "rows"
        assert f"rows.json: {len(rows)} {things} skipped: {reason} (first: row " in notes
    assert len(split.notes) == len(INVALID)
    assert "rows.json: 2 rows skipped: it is not a JSON object (first: row 21)" in notes


def with_pictures(count: int, missing: str, times: int) -> list[dict]:
    return [
        row("Q", "A", image=A if n >= times else missing.format(n)) | {"id": f"{n}"}
        for n in range(count)
    ]


@pytest.mark.parametrize("missing", ["gone/{}.png", "/data/{}.png", "../{}.png", "{}\0.png"])
def test_missing_pictures_are_refused_even_beside_rows_of_text(tmp_path, missing):
    text = [row("Q", "A") | {"id": f"text {n}"} for n in range(50)]
    with pytest.raises(InputError) as refused:
        read(tmp_path, *with_pictures(20, missing, 20), *text)
    assert "20 of the 20 images that" in str(refused.value)
    for folder in ("images", "train2017", ""):
        assert str(tmp_path / folder) in str(refused.value)
    wrong_path = missing.startswith(("/", ".."))
    assert ("a path relative" if wrong_path else "--images DIR") in str(refused.value.hint)


def test_a_name_that_is_too_long_counts_as_a_missing_picture(tmp_path):
    with pytest.raises(InputError, match="1 of the 1 image that"):
        read(tmp_path, row("Q", "A", image="x" * 5000))


def test_a_few_missing_pictures_are_skipped_with_a_note(tmp_path):
    (tmp_path / "images").mkdir()
    rows = []
    for n in range(100):
        Image.new("RGB", (9, 9)).save(tmp_path / "images" / f"{n}.png")
        rows.append(row("Q", "A", image=f"{n}.png"))
    split = read(tmp_path, *rows, row("Q", "A", image="gone.png"))
    assert split.notes == ["rows.json: 1 row skipped: an image is missing (first: row 101)"]


def test_only_the_given_folder_is_searched_for_images(tmp_path):
    read(tmp_path, row("Q", "A", image=A))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=rf"searched in {tmp_path / 'empty'}$"):
        llava.load_examples(tmp_path / "rows.json", tmp_path / "empty")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_rows_with_a_byte_order_mark_are_found_and_read(tmp_path, encoding):
    assert get_only_example(read(tmp_path, row("Q", "Ä"), encoding=encoding)).turns[1][1] == ("Ä",)


def test_a_single_row_is_used_for_training(tmp_path):
    split = read(tmp_path, row("Q", "A", image=A))
    assert len(split.train) == 1 and not split.validation
    assert split.notes == [
        "there is too little data for a validation split; training runs without validation"
    ]


def test_ids_of_any_kind_are_read(tmp_path):
    rows = [row("Q", "A", id=id) for id in (None, 1.5, "", "\ud800", ["x"], True)]
    split = read(tmp_path, *rows)
    assert len(split.train) + len(split.validation) == 6 and not split.notes


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", "rows.json is empty"),
        ('[{"id": 1', "rows.json is cut off"),
        ('[{"id": 1},\n]', "can't be read as JSON: .* at line 2, column 1"),
        ("{}", "must be a list of rows"),
        ("[]", "has no row to train on"),
        ("[" * 100_000, "can't be read as JSON"),
    ],
)
def test_a_file_that_is_not_a_list_of_rows_is_refused(tmp_path, content, error):
    (tmp_path / "rows.json").write_text(content)
    with pytest.raises(InputError, match=error):
        llava.load_examples(tmp_path / "rows.json")
