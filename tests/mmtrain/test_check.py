"""`mmtrain data check` reports for each layout what training finds and refuses."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmtrain.data import shapes
from mmtrain.data.check import CheckResult, check
from mmtrain.data.llava import format_exchange
from mmtui.errors import InputError
from mmtui.pipeline import input_files
from mmtui.pipeline.assets.fetch import ignore_progress
from mmtui.pipeline.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer(tiny_llama: Path) -> Tokenizer:
    return Tokenizer(tiny_llama)


def write_rows(root: Path, count: int, broken: int = 0) -> Path:
    """Write LLaVA-Instruct rows about one image each; the first `broken` images are broken."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for n in range(count):
        Image.new("RGB", (9, 9), (n, 0, 0)).save(root / "images" / f"{n}.png")
        if n < broken:
            (root / "images" / f"{n}.png").write_bytes(b"no picture")
        rows.append(
            {"id": n, "image": f"{n}.png", "conversations": format_exchange("What?", "Red.")}
        )
    (root / "rows.json").write_text(json.dumps(rows))
    return root


def get_layouts(found: CheckResult) -> list[str]:
    return [facts["layout"] for facts in found.reports]


def test_every_layout_of_a_folder_is_reported(tokenizer, tmp_path):
    shapes.generate(tmp_path, 12, 0)
    (tmp_path / "transcripts.tsv").write_text("file\ttext\na.wav\thello\n")
    (tmp_path / "a.wav").write_bytes(input_files.encode_wav(np.zeros(1600, np.float32)))
    found = check(tmp_path, None, tokenizer, ignore_progress)
    assert get_layouts(found) == [
        "COCO captions", "LLaVA-Instruct", "recordings to score", "RedPajama text",
    ]  # fmt: skip
    assert not found.refusals
    (questions,) = check(tmp_path / "vqa", None, tokenizer, ignore_progress).reports
    assert questions["layout"] == "questions to score" and questions["images"] == 1


@pytest.mark.parametrize(("broken", "refused"), [(0, False), (1, False), (2, True)])
def test_broken_images_are_listed_and_refused_as_in_training(tokenizer, tmp_path, broken, refused):
    found = check(write_rows(tmp_path, 100, broken), None, tokenizer, ignore_progress)
    (facts,) = found.reports
    assert (facts["images"], facts["broken_images"]) == (100, broken)
    assert sorted(Path(item["image"]).name for item in facts["broken"]) == [
        f"{n}.png" for n in range(broken)
    ]
    assert [str(error)[:32] for error in found.refusals] == [
        "2 of 100 images are broken, such"
    ] * refused


def test_an_error_in_one_layout_does_not_hide_the_others(tokenizer, tmp_path):
    write_rows(tmp_path, 3)
    (tmp_path / "text.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n')[:-4])
    found = check(tmp_path, None, tokenizer, ignore_progress)
    assert get_layouts(found) == ["LLaVA-Instruct"]
    assert "text.jsonl.gz is cut off" in str(found.refusals[0])
    with pytest.raises(InputError, match="is cut off"):
        check(tmp_path / "text.jsonl.gz", None, tokenizer, ignore_progress)


def test_images_in_another_folder_are_found(tokenizer, tmp_path):
    data, images = write_rows(tmp_path / "data", 3), tmp_path / "elsewhere"
    (data / "images").rename(images)
    with pytest.raises(InputError, match="3 of the 3 images"):
        check(data, None, tokenizer, ignore_progress)
    assert check(data, images, tokenizer, ignore_progress).reports[0]["images"] == 3


def test_text_is_read_from_a_file_a_folder_or_a_pattern(tokenizer, tmp_path):
    (tmp_path / "deep").mkdir()
    lines = '{"text": "a <|im_end|> b"}\nno json\n{"text": ""}\n{"text": "one"}\n'
    (tmp_path / "deep" / "a.jsonl").write_text(lines)
    for path in (tmp_path, tmp_path / "deep" / "a.jsonl", tmp_path / "deep" / "*.jsonl"):
        (facts,) = check(path, None, tokenizer, ignore_progress).reports
        assert (facts["documents"], facts["odd_lines"]) == (2, 2)
        assert (
            facts["tokens"]["most"] > 5
        )  # the special token is read as text, which has many tokens
        assert facts["notes"] == [
            "1 line skipped: not JSON (first: a.jsonl:2)",
            '1 line skipped: an empty "text" (first: a.jsonl:3)',
        ]
    with pytest.raises(InputError, match="does not exist"):
        check(tmp_path / "no", None, tokenizer, ignore_progress)


def test_the_command_prints_one_json_document_and_an_error(
    mmtrain, tiny_model, session_cache, tmp_path
):
    write_rows(tmp_path, 3, broken=1)
    (tmp_path / "a\x1b[2J.jsonl").write_text('{"text": "a"}\nno json\n')
    run = mmtrain("data", "check", tmp_path, "--model", tiny_model, "--json", env=session_cache)
    assert run.code == 4 and run.json["broken_images"] == 1
    assert run.json["also"][0]["layout"] == "RedPajama text"
    assert run.err.startswith("error: 1 of 3 images are broken, such as ")
    run = mmtrain("data", "check", tmp_path, "--model", tiny_model, env=session_cache)
    assert run.code == 4 and "\x1b" not in run.out + run.err
