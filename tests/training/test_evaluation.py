"""Scores: as the field computes them, the same for any batch size, on real photos and speech."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmtrain.data import coco
from mmtrain.evaluation import captions, speech, vqa
from mmtrain.evaluation.text import _windows
from mmtui.pipeline import checkpoint
from mmtui.pipeline.prompt import IGNORE


@pytest.fixture(scope="module")
def seeing_smol(smol, tmp_path_factory) -> Path:
    """The real parts, with a projector of chance."""
    folder = tmp_path_factory.mktemp("smol")
    torch.manual_seed(0)
    layer = torch.nn.Linear(smol.spec.vision.width, 576)
    torch.nn.init.normal_(layer.weight, std=0.002)
    checkpoint.write(folder, smol.spec, layer.state_dict())
    return folder


@pytest.mark.skipif(not shutil.which("java"), reason="COCO's own splitting of words needs Java")
def test_scores_are_those_of_coco_s_own_splitting_of_words(shared):
    """People's captions scored against each other, with NLTK here and Stanford's PTB there."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    items = coco.captioned(shared / "captions/annotations/captions_val2017.json", [])
    said = [item.captions[0] for item in items]
    meant = [list(item.captions[1:]) for item in items]
    theirs = PTBTokenizer()
    split_said = theirs.tokenize({n: [{"caption": text}] for n, text in enumerate(said)})
    split_meant = theirs.tokenize(
        {n: [{"caption": text} for text in texts] for n, texts in enumerate(meant)}
    )
    cider, _ = Cider().compute_score(split_meant, split_said)
    bleu, _ = Bleu(4).compute_score(split_meant, split_said, verbose=0)
    assert captions.cider_d(said, meant)[0] == pytest.approx(cider, rel=0.01)
    assert captions.bleu_4(said, meant) == pytest.approx(bleu[3], rel=0.01)


def test_words_are_split_as_the_penn_treebank_does():
    assert captions.words("A man's dog -- isn't it? -- runs (fast), 2.5 m.") == (
        "a man 's dog is n't it runs fast 2.5 m"
    )


def test_better_captions_score_higher():
    references = [["A dog runs.", "The dog is running."], ["A red bus.", "A bus in a street."]]
    good, each = captions.cider_d(["A dog runs.", "A bus in a street."], references)
    bad, _ = captions.cider_d(["A bus.", "A dog."], references)
    assert good > bad and len(each) == 2
    assert captions.bleu_4(["a dog runs in the snow"], [["A dog runs in the snow."]]) > 0.99


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("A Cat.", "cat"), ("two", "2"), ("The  TV-stand", "tv stand"), ("dont", "don't"),
        ("1,000", "1000"), ("2.5", "2.5"), ("yes!", "Yes"), ("none", "0"),
    ],
)  # fmt: skip
def test_answers_are_normalized_as_in_the_vqa_challenge(answer, reference):
    assert vqa.normalized(answer) == vqa.normalized(reference)


def test_vqa_accuracy_needs_three_of_the_others():
    assert vqa.vqa_accuracy([True] * 10) == 1
    assert vqa.vqa_accuracy([True] + [False] * 9) == pytest.approx(0.3)
    assert vqa.vqa_accuracy([True] * 3 + [False] * 7) == pytest.approx(0.9)
    assert vqa.vqa_accuracy([False]) == 0 and vqa.vqa_accuracy([True]) == 1


def test_every_token_is_scored_once():
    ids = list(range(100))
    rows = _windows(ids, 16)
    targets = [target for _, wanted in rows for target in wanted if target != IGNORE]
    assert targets == ids[1:]
    for inputs, wanted in rows[1:]:
        assert len(inputs) == len(wanted) <= 16 and wanted[:8] == [IGNORE] * 8


def test_batches_do_not_change_scores_on_real_photos(
    mmtrain, seeing_smol, shared, session_cache, tmp_path
):
    results, lines = [], []
    for batch in (1, 3):
        file = tmp_path / f"{batch}.jsonl"
        run = mmtrain(
            "eval", "captions", "--model", seeing_smol, "--data", shared / "captions",
            "--limit", 3, "--batch", batch, "--json", "--predictions", file,
            "--sheet", tmp_path / "sheet.png",
        )  # fmt: skip
        assert run.code == 0, run.err
        results.append(run.json)
        lines.append([json.loads(line) for line in file.open()])
    assert lines[0] == lines[1]
    assert results[0] == pytest.approx(results[1], rel=1e-4)
    assert set(results[0]) == {"images", "cider_d", "bleu_4", "loss_per_token", "distinct"}
    assert set(lines[0][0]) == {"id", "prediction", "references"} and len(lines[0]) == 3
    assert len(lines[0][0]["references"]) == 5
    assert Image.open(tmp_path / "sheet.png").size[0] > 500


def test_questions_are_scored_through_the_command(
    mmtrain, tiny_seeing_phi, shapes_data, session_cache, tmp_path
):
    run = mmtrain(
        "eval", "vqa", "--model", tiny_seeing_phi, "--data", shapes_data / "vqa", "--limit", 7,
        "--json", "--predictions", tmp_path / "p.jsonl", "--sheet", tmp_path / "s.png",
        env=session_cache,
    )  # fmt: skip
    assert run.code == 0, run.err
    assert run.json["questions"] == 7 and 0 <= run.json["exact_match"] <= 1
    first = json.loads((tmp_path / "p.jsonl").read_text().splitlines()[0])
    assert set(first) == {"id", "prediction", "references", "question"}


def test_speech_is_scored_through_the_command(mmtrain, smol, shared):
    run = mmtrain(
        "eval", "speech", "--model", "smol", "--data", shared / "speech", "--limit", 4, "--json"
    )
    assert run.code == 0, run.err
    assert run.json["clips"] == 4 and run.json["word_error_rate"] < 0.2


def test_wrong_words_are_counted_over_all_clips():
    assert speech.error_rate(["a b", "c"], ["A, b!", "c d"]) == 0.25


@pytest.mark.parametrize(
    ("task", "file", "content"),
    [
        ("captions", None, None),
        ("vqa", "questions.json", "[]"),
        ("vqa", "questions.json", '[{"image": "../x.png", "question": "q", "answer": "a"}]'),
        ("vqa", "questions.json", "{"),
        ("speech", "transcripts.tsv", "no tab here\n"),
        ("text", "a.jsonl", "{}\n"),
    ],
)
def test_data_in_another_layout_is_told(
    mmtrain, tiny_seeing_phi, session_cache, tmp_path, task, file, content
):
    if file:
        (tmp_path / file).write_text(content)
    run = mmtrain(
        "eval", task, "--model", tiny_seeing_phi, "--data", tmp_path, "--json", env=session_cache
    )
    assert run.code == 4 and run.err.startswith("error: ") and not run.out
