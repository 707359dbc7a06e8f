"""Scores agree with reference implementations and do not depend on the batch size."""

import json
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mmtrain.cli.evaluate import app
from mmtrain.data import coco, transcripts
from mmtrain.data.features import FeatureStore
from mmtrain.data.vqa import Question, load_questions
from mmtrain.evaluation import captions, scores, speech, text, vqa
from mmtrain.evaluation.image_check import drop_broken_images
from mmtrain.evaluation.normalization import normalize
from mmtrain.evaluation.scores import Prediction
from mmtrain.evaluation.text import _split_into_windows
from mmtui.errors import InputError, MmtuiError
from mmtui.pipeline import input_files
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.fetch import ignore_progress
from mmtui.pipeline.prompt import IGNORE_INDEX
from mmtui.pipeline.speech.transcription import Transcript
from mmtui.pipeline.tokenizer import Tokenizer
from mmtui.pipeline.vision.tower import VisionTower


@pytest.fixture(scope="module")
def seeing_smol(smol, tmp_path_factory) -> Path:
    """Save smol with a random projector."""
    folder = tmp_path_factory.mktemp("smol")
    torch.manual_seed(0)
    layer = torch.nn.Linear(smol.spec.vision.width, 576)
    torch.nn.init.normal_(layer.weight, std=0.002)
    checkpoint.write(folder, smol.spec, layer.state_dict())
    return folder


@pytest.mark.skipif(not shutil.which("java"), reason="COCO's tokenizer needs Java")
def test_scores_agree_with_those_of_coco_s_tokenizer(shared):
    """Score people's captions against each other, with NLTK and with Stanford's PTB tokenizer."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    items = coco.load_captioned_images(shared / "captions/annotations/captions_val2017.json", [])
    candidates = [item.captions[0] for item in items]
    references = [list(item.captions[1:]) for item in items]
    tokenizer = PTBTokenizer()
    split_candidates = tokenizer.tokenize(
        {n: [{"caption": text}] for n, text in enumerate(candidates)}
    )
    split_references = tokenizer.tokenize(
        {n: [{"caption": text} for text in texts] for n, texts in enumerate(references)}
    )
    cider, _ = Cider().compute_score(split_references, split_candidates)
    bleu, _ = Bleu(4).compute_score(split_references, split_candidates, verbose=0)
    assert captions.cider_d(candidates, references)[0] == pytest.approx(cider, rel=0.01)
    assert captions.bleu_4(candidates, references) == pytest.approx(bleu[3], rel=0.01)


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
        ("1,000", "1000"), ("2.5", "2.5"), ("yes!", "Yes"), ("none", "0"), ("wont", "won't"),
        ("hes", "he's"), ("couldntve", "couldn't've"), ("U.S.", "us"), ("I don\u2019t", "i dont"),
        ("Caf\u00e9!", "cafe\u0301"), ("猫。", "猫"), ("\N{THUMBS UP SIGN}", "\N{THUMBS UP SIGN}."),
        ("?", " ? "), ("A", "a"), ("हिन्दी", "हिन्दी!"),
    ],
)  # fmt: skip
def test_answers_that_mean_the_same_are_normalized_alike(answer, reference):
    assert normalize(answer) == normalize(reference)


@pytest.mark.parametrize(
    ("answer", "other"),
    [
        ("", "?"), ("", "the"), ("a", "the"), ("?", "!"), ("\N{THUMBS UP SIGN}", ""),
        ("its", "it's"), ("\N{THUMBS UP SIGN}", "\N{THUMBS DOWN SIGN}"), ("2.5", "25"),
        ("lets", "let's"), ("wed", "we'd"), ("हिन्दी", "हिन्द"), ("$5", "5 %"),
    ],
)  # fmt: skip
def test_answers_that_differ_are_not_normalized_alike(answer, other):
    assert normalize(answer) != normalize(other)


def test_vqa_accuracy_is_full_with_three_other_annotators():
    assert vqa.vqa_accuracy([True] * 10) == 1
    assert vqa.vqa_accuracy([True] + [False] * 9) == pytest.approx(0.3)
    assert vqa.vqa_accuracy([True] * 3 + [False] * 7) == pytest.approx(0.9)
    assert vqa.vqa_accuracy([False]) == 0 and vqa.vqa_accuracy([True]) == 1


def test_every_token_is_scored_once():
    ids = list(range(100))
    rows = _split_into_windows(ids, 16)
    targets = [label for _, labels in rows for label in labels if label != IGNORE_INDEX]
    assert targets == ids[1:]
    for inputs, labels in rows[1:]:
        assert len(inputs) == len(labels) <= 16 and labels[:8] == [IGNORE_INDEX] * 8


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


def test_recordings_that_are_not_transcribed_completely_are_counted(tmp_path):
    class FakeTranscriber:
        def transcribe(self, clip: np.ndarray) -> Transcript:
            return Transcript("hello", "en", len(clip) / 16_000)

    recordings = []
    for name, seconds in (("a.wav", 2), ("b.wav", 40), ("c.wav", 20)):
        (tmp_path / name).write_bytes(
            input_files.encode_wav(np.zeros(seconds * 16_000, np.float32))
        )
        recordings.append(transcripts.Recording(tmp_path / name, "hello"))
    result = speech.evaluate(FakeTranscriber(), recordings, ignore_progress)
    (note,) = result.notes
    assert note.startswith("2 recordings not transcribed completely") and "b.wav" in note


def test_speech_is_scored_through_the_command(installed_mmtrain, smol, shared):
    run = installed_mmtrain(
        "eval", "speech", "--model", "smol", "--data", shared / "speech", "--limit", 4, "--json"
    )
    assert run.code == 0, run.err
    assert run.json["clips"] == 4 and run.json["word_error_rate"] < 0.2
    assert run.json["word_error_rate_whisper"] <= run.json["word_error_rate"]


def test_wrong_words_are_counted_over_all_clips():
    assert speech.error_rate(["a b", "c"], ["A, b!", "c d"]) == 0.25


def test_whisper_s_normalizer_makes_figures_comparable():
    hypotheses = ["I have 21 colors", "uh, it is"]
    references = ["I've twenty-one colours.", "It's [laughs]"]
    assert speech.error_rate(hypotheses, references) > 0.5
    assert speech.whisper_error_rate(hypotheses, references) == 0
    assert speech.whisper_error_rate(["a"], ["hmm"]) is None


def test_cider_is_undefined_for_one_image():
    """It weighs a word by the number of images whose captions have it."""
    mean, each = captions.cider_d(["A dog."], [["A dog runs.", "A dog."]])
    assert mean is None and each == [None]
    assert captions.cider_d(["", ""], [["A dog."], ["A cat."]])[0] == 0


def test_a_sheet_and_predictions_include_undefined_scores(tmp_path):
    predictions = [Prediction("a#0", "A dog.", ["A dog."], None)]
    scores.write_sheet(predictions, tmp_path / "s.png")
    scores.write_predictions(predictions, tmp_path / "p.jsonl")
    assert json.loads((tmp_path / "p.jsonl").read_text())["prediction"] == "A dog."


def test_captions_without_words_are_skipped(tmp_path):
    (tmp_path / "val2017").mkdir()
    (tmp_path / "annotations").mkdir()
    texts = {0: ["...", "A dog."], 1: ["!!"], 2: ["A cat."]}
    for n in texts:
        Image.new("RGB", (9, 9)).save(tmp_path / "val2017" / f"{n}.png")
    document = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in texts],
        "annotations": [{"image_id": n, "caption": c} for n in texts for c in texts[n]],
    }
    (tmp_path / "annotations" / "captions_val2017.json").write_text(json.dumps(document))
    items, notes = captions.load_images(tmp_path, None)
    assert [(item.image.name, item.captions) for item in items] == [
        ("0.png", ("A dog.",)), ("2.png", ("A cat.",)),
    ]  # fmt: skip
    assert notes == ["1 image skipped: its captions have no words (first: 1.png)"]


def test_a_few_broken_pictures_are_skipped_and_many_are_refused(
    tmp_path, cache, tiny_vision, tiny_clip
):
    files = [tmp_path / f"{n}.png" for n in range(100)]
    for n, file in enumerate(files):
        Image.new("RGB", (9, 9), (n, 0, 0)).save(file)
    files[7].write_bytes(b"broken")
    tower = VisionTower(tiny_vision, tiny_clip)
    store = FeatureStore(tiny_vision, lambda: tower, ignore_progress)
    good, notes = drop_broken_images(files, lambda file: [file], store)
    assert good == files[:7] + files[8:]
    (note,) = notes
    assert note.startswith(f"1 image skipped: it is broken (first: {files[7]}: ")
    with pytest.raises(InputError, match=f"1 of 9 images are broken, such as {files[7]}: "):
        drop_broken_images(files[:9], lambda file: [file], store)


def write_questions(root: Path, *items: object, encoding: str = "utf-8") -> Path:
    (root / "images").mkdir(exist_ok=True)
    Image.new("RGB", (9, 9)).save(root / "images" / "a.png")
    (root / "questions.json").write_text(json.dumps(items), encoding=encoding)
    return root


def make_question(question: str = "What?", image: str = "a.png", **answers: object) -> dict:
    return {"image": image, "question": question, **answers}


def test_questions_without_answers_are_counted_and_answers_may_be_numbers(tmp_path):
    root = write_questions(
        tmp_path,
        make_question(answer="A dog."),
        make_question(answer=2),
        make_question(answer=0),
        make_question(answers=["a", " ", "b"]),
        make_question(answer=""),
        make_question(answer="  "),
        make_question(),
        make_question(answers=[" "]),
        make_question(" ", answer="x"),
        encoding="utf-8-sig",
    )
    found, notes = load_questions(root)
    assert [question.answers for question in found] == [("A dog.",), ("2",), ("0",), ("a", "b")]
    assert notes == [
        "questions.json: 4 questions skipped: it has no answer (first: question 5)",
        "questions.json: 1 question skipped: its question is empty (first: question 9)",
    ]


def test_references_without_words_match_only_themselves():
    class FakeGenerator:
        def generate(self, questions: list, batch: int, report: object) -> list[str]:
            return ["", "?", "\N{THUMBS UP SIGN}", "."][: len(questions)]

    answers_of_people = [("?",), ("?",), ("\N{THUMBS UP SIGN}",), ("yes", "Yes.")]
    questions = [Question((Path("a.png"),), "Q", answers) for answers in answers_of_people]
    result = vqa.evaluate(FakeGenerator(), questions, 4, ignore_progress)
    assert result.values["exact_match"] == result.values["mentioned"] == 0.5
    assert result.values["yes_rate"] == 0


def test_words_are_split_in_any_script():
    assert transcripts.split_words("Don\u2019t \u2014 STOP, 'tis...") == ["don't", "stop", "'tis"]
    assert transcripts.split_words("हिन्दी में।") == ["हिन्दी", "में"]
    assert transcripts.split_words("\N{MUSICAL NOTE} ... '") == []


@pytest.mark.parametrize("texts", [["a"], ["<|im_end|> is written here", "b"]])
def test_short_text_and_text_with_special_tokens_are_scored(tiny_llama, texts):
    """Every token counts once, and special tokens in the text are text."""

    class Uniform:
        language = SimpleNamespace(tokenizer=Tokenizer(tiny_llama), context_length=64)

        def loss(self, rows: list) -> float:
            targets = [label for _, labels in rows for label in labels if label != IGNORE_INDEX]
            assert not {0, 1, 2} & set(targets)
            return float(len(targets))

    values = text.evaluate(Uniform(), texts, 2, ignore_progress).values
    assert values["loss_per_token"] == 1 and values["documents"] == len(texts)


@pytest.mark.parametrize(
    ("read", "file", "content"),
    [
        (captions.load_images, "a.txt", ""),
        (load_questions, "a.txt", ""),
        (load_questions, "questions.json", "[]"),
        (
            load_questions,
            "questions.json",
            '[{"image": "../x.png", "question": "q", "answer": "a"}]',
        ),
        (load_questions, "questions.json", "{"),
        (load_questions, "questions.json", '[{"image": 1}]'),
        (partial(transcripts.load_recordings, report=ignore_progress), "a.txt", ""),
        (
            partial(transcripts.load_recordings, report=ignore_progress),
            "transcripts.tsv",
            "no tab here\n",
        ),
        (text.load_documents, "a.jsonl", "{}\n"),
    ],
)
def test_data_in_another_layout_is_refused(tmp_path, read, file, content):
    (tmp_path / file).write_text(content)
    with pytest.raises(InputError):
        read(tmp_path, None)


def test_data_is_refused_before_a_model_is_loaded(
    mmtrain, tiny_seeing_phi, session_cache, tmp_path
):
    write_questions(tmp_path, make_question(answer="a"), make_question(image="b.png", answer="b"))
    (tmp_path / "images" / "b.png").write_bytes(b"broken")
    arguments = ("--model", tiny_seeing_phi, "--data", tmp_path, "--json")
    run = mmtrain("eval", "vqa", *arguments, env=session_cache)
    assert (run.code, run.out) == (4, "")
    assert "error: 1 of 2 images are broken, such as " in run.err and "b.png" in run.err


@pytest.mark.parametrize(
    ("option", "code"),
    [
        (("--predictions", "no/such/folder.jsonl"), 4), (("--predictions", "."), 4),
        (("--sheet", "sheet.jpg"), 2), (("--sheet", "link.png"), 4),
    ],
)  # fmt: skip
def test_destinations_that_can_not_be_written_are_refused_before_the_evaluation(
    tmp_path, monkeypatch, option, code
):
    monkeypatch.chdir(tmp_path)
    Path("link.png").symlink_to("elsewhere.png")
    with pytest.raises(MmtuiError) as refused:
        app(["vqa", "--data", "nowhere", *option], standalone_mode=False)
    assert refused.value.exit_code == code and "nowhere" not in str(refused.value)
