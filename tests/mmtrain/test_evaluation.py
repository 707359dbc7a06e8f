"""Scores: as the field computes them, the same for any batch size, on real photos and speech."""

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
    """The real parts, with a random projector."""
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

    items = coco.load_captioned_images(shared / "captions/annotations/captions_val2017.json", [])
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


def test_vqa_accuracy_needs_three_of_the_others():
    assert vqa.vqa_accuracy([True] * 10) == 1
    assert vqa.vqa_accuracy([True] + [False] * 9) == pytest.approx(0.3)
    assert vqa.vqa_accuracy([True] * 3 + [False] * 7) == pytest.approx(0.9)
    assert vqa.vqa_accuracy([False]) == 0 and vqa.vqa_accuracy([True]) == 1


def test_every_token_is_scored_once():
    ids = list(range(100))
    rows = _split_into_windows(ids, 16)
    targets = [target for _, wanted in rows for target in wanted if target != IGNORE_INDEX]
    assert targets == ids[1:]
    for inputs, wanted in rows[1:]:
        assert len(inputs) == len(wanted) <= 16 and wanted[:8] == [IGNORE_INDEX] * 8


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


def test_recordings_that_are_not_heard_as_a_whole_are_counted(tmp_path):
    class Ears:
        def transcribe(self, clip: np.ndarray) -> Transcript:
            return Transcript("hello", "en", len(clip) / 16_000)

    recordings = []
    for name, seconds in (("a.wav", 2), ("b.wav", 40), ("c.wav", 20)):
        (tmp_path / name).write_bytes(
            input_files.encode_wav(np.zeros(seconds * 16_000, np.float32))
        )
        recordings.append(transcripts.Recording(tmp_path / name, "hello"))
    found = speech.evaluate(Ears(), recordings, ignore_progress)
    (note,) = found.notes
    assert note.startswith("2 recordings not transcribed completely") and "b.wav" in note


def test_speech_is_scored_through_the_command(mmtrain, smol, shared):
    run = mmtrain(
        "eval", "speech", "--model", "smol", "--data", shared / "speech", "--limit", 4, "--json"
    )
    assert run.code == 0, run.err
    assert run.json["clips"] == 4 and run.json["word_error_rate"] < 0.2


def test_wrong_words_are_counted_over_all_clips():
    assert speech.error_rate(["a b", "c"], ["A, b!", "c d"]) == 0.25


def test_cider_is_undefined_for_one_image():
    """It weighs a word by how few of the images it is said of."""
    mean, each = captions.cider_d(["A dog."], [["A dog runs.", "A dog."]])
    assert mean is None and each == [None]
    assert captions.cider_d(["", ""], [["A dog."], ["A cat."]])[0] == 0


def test_a_sheet_and_predictions_have_what_is_undefined(tmp_path):
    predictions = [Prediction("a#0", "A dog.", ["A dog."], None)]
    scores.write_sheet(predictions, tmp_path / "s.png")
    scores.write_predictions(predictions, tmp_path / "p.jsonl")
    assert json.loads((tmp_path / "p.jsonl").read_text())["prediction"] == "A dog."


def test_captions_without_words_are_left_out(tmp_path):
    (tmp_path / "val2017").mkdir()
    (tmp_path / "annotations").mkdir()
    said = {0: ["...", "A dog."], 1: ["!!"], 2: ["A cat."]}
    for n in said:
        Image.new("RGB", (9, 9)).save(tmp_path / "val2017" / f"{n}.png")
    document = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in said],
        "annotations": [{"image_id": n, "caption": c} for n in said for c in said[n]],
    }
    (tmp_path / "annotations" / "captions_val2017.json").write_text(json.dumps(document))
    items, notes = captions.load_images(tmp_path, None)
    assert [(item.image.name, item.captions) for item in items] == [
        ("0.png", ("A dog.",)), ("2.png", ("A cat.",)),
    ]  # fmt: skip
    assert notes == ["1 image skipped: its captions have no words (first: 1.png)"]


def test_a_few_broken_pictures_are_left_out_and_many_refuse(
    tmp_path, cache, tiny_vision, tiny_clip
):
    files = [tmp_path / f"{n}.png" for n in range(100)]
    for n, file in enumerate(files):
        Image.new("RGB", (9, 9), (n, 0, 0)).save(file)
    files[7].write_bytes(b"broken")
    tower = VisionTower(tiny_vision, tiny_clip)
    store = FeatureStore(tiny_vision, lambda: tower, ignore_progress)
    good, notes = drop_broken_images(files, lambda file: file, store)
    assert good == files[:7] + files[8:]
    (note,) = notes
    assert note.startswith(f"1 image skipped: it is broken (first: {files[7]}: ")
    with pytest.raises(InputError, match=f"1 of 9 images are broken, such as {files[7]}: "):
        drop_broken_images(files[:9], lambda file: file, store)


def questions_in(root: Path, *items: object, encoding: str = "utf-8") -> Path:
    (root / "images").mkdir(exist_ok=True)
    Image.new("RGB", (9, 9)).save(root / "images" / "a.png")
    (root / "questions.json").write_text(json.dumps(items), encoding=encoding)
    return root


def ask(question: str = "What?", image: str = "a.png", **answers: object) -> dict:
    return {"image": image, "question": question, **answers}


def test_questions_without_answers_are_counted_and_answers_may_be_numbers(tmp_path):
    root = questions_in(
        tmp_path, ask(answer="A dog."), ask(answer=2), ask(answer=0), ask(answers=["a", " ", "b"]),
        ask(answer=""), ask(answer="  "), ask(), ask(answers=[" "]), ask(" ", answer="x"),
        encoding="utf-8-sig",
    )  # fmt: skip
    found, notes = load_questions(root)
    assert [question.answers for question in found] == [("A dog.",), ("2",), ("0",), ("a", "b")]
    assert notes == [
        "questions.json: 4 questions skipped: it has no answer (first: question 5)",
        "questions.json: 1 question skipped: its question is empty (first: question 9)",
    ]


def test_wordless_references_match_only_themselves():
    class Mute:
        def generate(self, asked: list, batch: int, report: object) -> list[str]:
            return ["", "?", "\N{THUMBS UP SIGN}", "."][: len(asked)]

    given = [("?",), ("?",), ("\N{THUMBS UP SIGN}",), ("yes", "Yes.")]
    asked = [Question(Path("a.png"), "Q", answers) for answers in given]
    result = vqa.evaluate(Mute(), asked, 4, ignore_progress)
    assert result.values["exact_match"] == result.values["mentioned"] == 0.5
    assert result.values["yes_rate"] == 0


def recordings_in(root: Path, transcript: str, encoding: str = "utf-8") -> Path:
    for name in ("a.wav", "b.wav", "deep/c.wav"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(input_files.encode_wav(np.zeros(1600, np.float32)))
    (root / "transcripts.tsv").write_text(transcript, encoding=encoding, newline="")
    return root


@pytest.mark.parametrize(
    ("transcript", "found", "notes"),
    [
        ("a.wav\thello\n", ["a.wav hello"], []),
        ("\ufeffa.wav\thello\r\nb.wav\tthere\r\n", ["a.wav hello", "b.wav there"], []),
        ("a.wav\tone\u2028line\n\n", ["a.wav one\u2028line"], []),
        ("deep/c.wav\thello", ["c.wav hello"], []),
        ("file\ttext\na.wav\thello\n", ["a.wav hello"], ["it is a header (first: line 1, 'file')"]),
        ("a.wav\thello\nb.wav\t...\n", ["a.wav hello"],
         ["its transcript has no words (first: line 2, 'b.wav')"]),
        ("a.wav\thello\nb.wav there\n", ["a.wav hello"], ["it has no tab (first: line 2)"]),
    ],
)  # fmt: skip
def test_transcripts_are_read_as_people_write_them(tmp_path, transcript, found, notes):
    recordings, said = transcripts.load_recordings(
        recordings_in(tmp_path, transcript), None, ignore_progress
    )
    assert [f"{r.file.name} {r.text}" for r in recordings] == found
    assert said == [f"transcripts.tsv: 1 line skipped: {note}" for note in notes]


def test_missing_and_broken_sound_files_are_refused_by_name(tmp_path):
    root = recordings_in(tmp_path, "a.wav\thello\ngone.wav\tthere\n")
    with pytest.raises(InputError, match=r"1 of the 2 sound files .* such as 'gone.wav'"):
        transcripts.load_recordings(root, None, ignore_progress)
    assert transcripts.load_recordings(root, 1, ignore_progress)[0]
    (root / "transcripts.tsv").write_text("a.wav\thello\nb.wav\tthere\n")
    (root / "b.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"1 of 2 sound files are broken, such as .*b.wav"):
        transcripts.load_recordings(root, None, ignore_progress)


def test_words_of_any_script_are_words():
    assert transcripts.split_words("Don\u2019t \u2014 STOP, 'tis...") == ["don't", "stop", "'tis"]
    assert transcripts.split_words("हिन्दी में।") == ["हिन्दी", "में"]
    assert transcripts.split_words("\N{MUSICAL NOTE} ... '") == []


@pytest.mark.parametrize("texts", [["a"], ["<|im_end|> is written here", "b"]])
def test_text_of_few_tokens_and_with_special_tokens_is_scored(tiny_llama, texts):
    """Every token counts once, and text never ends early."""

    class Uniform:
        language = SimpleNamespace(tokenizer=Tokenizer(tiny_llama), context_length=64)

        def loss(self, rows: list) -> float:
            wanted = [target for _, targets in rows for target in targets if target != IGNORE_INDEX]
            assert not {0, 1, 2} & set(wanted)
            return float(len(wanted))

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
    questions_in(tmp_path, ask(answer="a"), ask(image="b.png", answer="b"))
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
def test_results_that_could_not_be_written_are_refused_first(tmp_path, monkeypatch, option, code):
    monkeypatch.chdir(tmp_path)
    Path("link.png").symlink_to("elsewhere.png")
    with pytest.raises(MmtuiError) as refused:
        app(["vqa", "--data", "nowhere", *option], standalone_mode=False)
    assert refused.value.exit_code == code and "nowhere" not in str(refused.value)
