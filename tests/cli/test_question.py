"""The question of `mmtui ask` and the files that it names."""

import io
import sys
from pathlib import Path

import pytest

from mmtui.cli.question import read_question
from mmtui.errors import InputError, UsageError


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    paths = tmp_path / "a b.jpg", tmp_path / "memo.m4a"
    for file in paths:
        file.touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    return paths


@pytest.fixture
def piped(monkeypatch):
    def pipe(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return pipe


def test_a_file_that_a_typed_question_names_is_attached(files):
    picture, memo = files
    question = read_question("what is in ~/a b.jpg?", [], None)
    assert question.text == "what is in ~/a b.jpg?"
    assert (question.pictures, question.mentioned) == ((str(picture),), (picture,))
    question = read_question(f"Is {memo} about {picture}?", ["-"], None)
    assert (question.pictures, question.recording) == (("-", str(picture)), memo)
    question = read_question("what is in ~/a b.jpg?", [f"file://{picture}"], None)
    assert question.pictures == (f"file://{picture}",) and not question.mentioned
    with pytest.raises(UsageError, match="one recording"):
        read_question(f"Is {memo} the same?", [], picture)


def test_a_question_that_is_only_a_path_asks_for_a_description(files):
    _, memo = files
    assert read_question("~/a b.jpg", [], None).text == "Describe this picture."
    question = read_question(str(memo), [], None)
    assert (question.text, question.recording) == ("", memo)


def test_a_file_that_piped_text_names_is_not_attached(files, piped):
    for argument in (None, "-"):
        piped(b"error: can't open ~/a b.jpg\n")
        question = read_question(argument, [], None)
        assert question.text == "error: can't open ~/a b.jpg\n" and not question.pictures


@pytest.mark.parametrize(("pictures", "recording"), [(["-"], None), ([], Path("memo.m4a"))])
def test_a_question_from_stdin_is_refused_beside_a_recording_or_a_piped_picture(
    piped, pictures, recording
):
    piped(b"What is this?")
    with pytest.raises(UsageError, match="--audio or --image -"):
        read_question("-", pictures, recording)


def test_addresses_empty_questions_and_binary_data_are_refused(piped):
    with pytest.raises(UsageError, match="web addresses are not opened") as raised:
        read_question("https://example.org/cat.jpg", [], None)
    assert "curl -s https://example.org/cat.jpg | mmtui ask --image -" in (raised.value.hint or "")
    for empty in (b"", b" \n", "\n".encode("utf-16")):
        piped(empty)
        with pytest.raises(UsageError, match="there is no question"):
            read_question(None, [], None)
    piped(bytes(50))
    with pytest.raises(InputError, match="is not text"):
        read_question(None, [], None)


def test_a_document_that_a_typed_question_mentions_is_attached(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.md").touch()
    question = read_question("What is in @notes.md?", [], None)
    assert question.documents == ("notes.md",) and question.mentioned == (Path("notes.md"),)
    assert read_question(str(tmp_path / "notes.md"), [], None).text == "Summarize this document."
