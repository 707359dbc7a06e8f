"""What `mmtui ask` is asked, and about which files."""

import io
import sys
from pathlib import Path

import pytest

from mmtui.cli.question import read_question
from mmtui.errors import InputError, UsageError


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    made = tmp_path / "a b.jpg", tmp_path / "memo.m4a"
    for file in made:
        file.touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    return made


@pytest.fixture
def piped(monkeypatch):
    def pipe(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return pipe


def test_a_file_that_a_typed_question_names_goes_with_it(files):
    picture, memo = files
    asked = read_question("what is in ~/a b.jpg?", [], None)
    assert asked.text == "what is in ~/a b.jpg?"
    assert (asked.pictures, asked.mentioned) == ((str(picture),), (picture,))
    asked = read_question(f"Is {memo} about {picture}?", ["-"], None)
    assert (asked.pictures, asked.recording) == (("-", str(picture)), memo)
    asked = read_question("what is in ~/a b.jpg?", [f"file://{picture}"], None)
    assert asked.pictures == (f"file://{picture}",) and not asked.mentioned
    with pytest.raises(UsageError, match="one recording"):
        read_question(f"Is {memo} the same?", [], picture)


def test_a_question_that_is_only_a_file_asks_what_is_there(files):
    _, memo = files
    assert read_question("~/a b.jpg", [], None).text == "Describe this picture."
    asked = read_question(str(memo), [], None)
    assert (asked.text, asked.recording) == ("", memo)


def test_what_is_piped_in_attaches_nothing(files, piped):
    for typed in (None, "-"):
        piped(b"error: can't open ~/a b.jpg\n")
        asked = read_question(typed, [], None)
        assert asked.text == "error: can't open ~/a b.jpg\n" and not asked.pictures


def test_what_can_t_be_asked_is_reported_with_the_cure(piped):
    with pytest.raises(UsageError, match="no web addresses") as raised:
        read_question("https://example.org/cat.jpg", [], None)
    assert "curl -s https://example.org/cat.jpg | mmtui ask --image -" in (raised.value.hint or "")
    for nothing in (b"", b" \n", "\n".encode("utf-16")):
        piped(nothing)
        with pytest.raises(UsageError, match="there is no question"):
            read_question(None, [], None)
    piped(bytes(50))
    with pytest.raises(InputError, match="no text"):
        read_question(None, [], None)
