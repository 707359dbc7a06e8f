"""Paths as terminals paste them and as people type them."""

import os
import socket
import unicodedata
from pathlib import Path

import pytest

from mmtui import paths
from mmtui.errors import InputError, UsageError


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = [tmp_path / name for name in ("a cat.png", "dog.jpg", "it's (1).png")]
    for file in made:
        file.touch()
    return made


def test_one_path_in_each_form(files):
    cat, dog, its = files
    escaped = str(cat).replace(" ", "\\ ")
    uri = cat.as_uri()
    assert "%20" in uri
    for text in (str(cat), f"'{cat}'", f'"{cat}"', escaped, uri, f"  {cat}\n"):
        assert paths.find_pasted(text) == [cat], text
    assert paths.find_pasted(str(its)) == [its]
    assert paths.find_pasted(str(dog)) == [dog]


def test_several_paths_in_each_form(files):
    cat, dog, its = files
    quoted = f"'{cat}' {dog}"
    escaped = f"{cat}".replace(" ", "\\ ") + f" {dog}"
    uris = f"{cat.as_uri()}\n{its.as_uri()}"
    assert paths.find_pasted(quoted) == paths.find_pasted(escaped) == [cat, dog]
    assert paths.find_pasted(uris) == [cat, its]
    assert paths.find_pasted(f"{cat}\n{dog}\n") == [cat, dog]


def test_home_is_expanded(files, monkeypatch):
    monkeypatch.setenv("HOME", str(files[1].parent))
    assert paths.find_pasted("~/dog.jpg") == [files[1]]


def test_text_is_not_mistaken_for_a_path(files, tmp_path):
    nothing = [
        "", "hello world", f"look at {files[1]}", str(tmp_path), "it's", "/no/such/file.png",
        "file://elsewhere/x.png", "http://[", "~nobody/x", "a\0b", "x" * 5000, "y" * 100_000,
    ]  # fmt: skip
    for text in nothing:
        assert paths.find_pasted(text) == [], text[:40]


def test_paths_are_completed_one_folder_at_a_time(files, tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / ".hidden").touch()
    begun = f"{tmp_path}{os.sep}"
    assert paths.complete(f"{begun}d") == [f"{begun}dir{os.sep}", f"{begun}dog.jpg"]
    assert f"{begun}.hidden" not in paths.complete(begun)
    (tmp_path / "dr\x1b[2Jum.png").touch()
    assert paths.complete(f"{begun}dr") == []  # its name would drive the terminal
    for nowhere in ("/no/such/folder/x", "~no-such-user/x", "a\0b/x"):
        assert paths.complete(nowhere) == []


def test_a_dropped_file_is_a_picture_or_a_recording(files, tmp_path, monkeypatch):
    (tmp_path / "README.md").touch()
    monkeypatch.chdir(tmp_path)
    assert paths.find_dropped("dog.jpg") == [Path("dog.jpg")]
    assert paths.find_dropped("README.md") == paths.find_dropped("README.md dog.jpg") == []


@pytest.mark.parametrize("name", ["a b#1?.png", "100%.png", "a%20b.png", "it's (1).png", "é.png"])
def test_a_file_uri_names_the_file_whatever_its_name(tmp_path, name):
    file = tmp_path / name
    file.touch()
    encoded = file.as_uri().removeprefix("file://")
    hosts = ["", "localhost", "LOCALHOST", socket.gethostname()]
    for uri in [f"file://{host}{encoded}" for host in hosts] + [
        f"file:{encoded}",
        f"file://{file}",
    ]:
        assert paths.resolve(uri) == paths.resolve(f"  {uri}\n") == file, uri
        assert paths.find_pasted(uri) == [file]


def test_a_path_that_can_t_be_opened_is_refused_with_a_hint(tmp_path):
    with pytest.raises(InputError, match="is on another machine"):
        paths.resolve("file://elsewhere/x.png")
    with pytest.raises(UsageError, match="on the web") as refused:
        paths.resolve("https://example.org/cat.png?size=2")
    assert "curl -s 'https://example.org/cat.png?size=2' | mmtui ask" in (refused.value.hint or "")
    with pytest.raises(InputError, match="no such user"):
        paths.resolve("~no-such-user/x.md")
    for empty in ("", " ", "\n"):
        with pytest.raises(UsageError, match="empty"):
            paths.resolve(empty)


def test_only_the_address_of_a_picture_or_a_recording_is_refused():
    for address in ("https://example.org/cat.JPG", " http://example.org/memo.mp3?x=1#t "):
        with pytest.raises(UsageError, match="web addresses are not opened"):
            paths.refuse_web_address(address)
    for text in (
        "https://example.org/",
        "what is https://example.org/cat.jpg",
        "http://[",
        "cat.jpg",
    ):
        paths.refuse_web_address(text)


@pytest.mark.parametrize(("stored", "named"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_are_found_in_either_form_in_folders_too(tmp_path, stored, named):
    folder = tmp_path / unicodedata.normalize(stored, "Café")
    folder.mkdir()
    file = folder / unicodedata.normalize(stored, "Müller é.png")
    file.touch()
    name = unicodedata.normalize(named, str(file))
    assert name != str(file)
    assert paths.resolve(name) == file and paths.find_pasted(name) == [file]
    assert paths.resolve(Path(name).as_uri()) == file
    assert paths.resolve(str(Path(name).with_name("new.png"))) == folder / "new.png"


def test_an_existing_file_of_exactly_that_name_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "x.png").touch()
    assert paths.resolve("~/x.png") == tmp_path / "home" / "x.png"
    for name in ("~/x.png", "file:/x.png", "'x.png'", "a\\ b.png", " x.png ", "http://x/y.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
        assert paths.resolve(name) == Path(name)


def test_the_name_of_a_new_file_is_unquoted(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert paths.resolve("~/new.md") == Path("/home/me/new.md")
    assert paths.resolve("file:///tmp/my%20new.md") == Path("/tmp/my new.md")
    assert paths.resolve("my\\ new.md ") == paths.resolve("'my new.md'") == Path("my new.md")
    assert paths.resolve("*.jsonl") == Path("*.jsonl")
    assert paths.resolve("a\0b") == Path("a\0b")


def test_formats_of_browsers_phones_and_recorders_can_be_dropped(tmp_path):
    for suffix in ("jfif", "jpe", "JPG", "oga", "m4b", "mka", "mov", "3gp", "wma", "aif", "mp4"):
        file = tmp_path / f"dropped.{suffix}"
        file.touch()
        assert paths.find_dropped(str(file)) == [file]


def test_commands_resolve_paths_in_the_same_way(mmtui, installed_mmtrain, tmp_path):
    """Names in every command go through `resolve`; here at the ends of two of them."""
    home = {"HOME": str(tmp_path)}
    made = installed_mmtrain("data", "shapes", "--out", "~/my shapes", "--images", 2, env=home)
    assert (made.code, made.out) == (0, f"{tmp_path / 'my shapes'}\n"), made.err
    (tmp_path / "é #1.wav").write_bytes(b"no sound")
    uri = (tmp_path / unicodedata.normalize("NFD", "é #1.wav")).as_uri()
    for name in (uri, "~/é #1.wav"):
        run = mmtui("transcribe", name, env=home)
        assert run.code == 4 and f"{tmp_path / 'é #1.wav'}: this is not a recording" in run.err


def test_files_are_found_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    cat, dog, memo = (tmp_path / name for name in ("a b.jpg", "dog.PNG", "memo.m4a"))
    for file in (cat, dog, memo):
        file.touch()
    for sentence in (
        "what is in ~/a b.jpg?", f"What is in {cat}", f"look at '{cat}', please", f"({cat})",
        f"what is in {cat}: a cat?", "~/a\\ b.jpg shows what?", f"is <{cat.as_uri()}> a cat?",
        "./a b.jpg\nWhat is it?", f"../{tmp_path.name}/a b.jpg...", "~/a b.jpg's colour?",
        "what is in `~/a b.jpg`", "看~/a b.jpg里有什么", 'what is in "~/a b.jpg"?',
    ):  # fmt: skip
        found = paths.find_mentioned(sentence)
        assert [file.resolve() for file in found] == [cat], sentence
    assert paths.find_mentioned(f"Compare {cat} and ~/dog.PNG with {cat}.") == [cat, dog]
    assert paths.find_mentioned("what is said in ~/memo.m4a?") == [memo]


def test_a_file_that_a_sentence_does_not_clearly_name_is_not_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "notes.txt", "x.jpg"):
        (tmp_path / name).touch()
    for sentence in (
        "why does a.jpg not load?", "~/a.jpgx", "~/a.jpg-old", "~/notes.txt", "~/a.jpg/b",
        f"https://example.org{tmp_path}/a.jpg", f"http:/{tmp_path}/a.jpg", "and/or.jpg",
        f"x{tmp_path}/a.jpg", "~/a", "1/2.jpg", "file://elsewhere/a.jpg", "/ . ~/ ./ .jpg",
        "b~/a.jpg", "~/missing.jpg", "./" * 9000,
        "~/a.jpg " * 9000, "/a.jpg" * 3000, "/ " * 9000 + ".jpg",
    ):  # fmt: skip
        assert paths.find_mentioned(sentence) == [], sentence[:40]


def test_files_after_an_at_sign_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("old.py", "new file.py", "Makefile", "report.pdf"):
        (tmp_path / name).touch()
    for sentence, found in (
        ("Compare @old.py with @'new file.py'.", ["old.py", "new file.py"]),
        ("What does (@Makefile) do?", ["Makefile"]),
        ("Read @report.pdf#3-7, please", ["report.pdf#3-7"]),
        ("Mail me@old.py, or @nobody, or @@old.py", []),
    ):
        assert paths.find_mentioned(sentence) == [Path(name) for name in found]
    report = tmp_path / "report.pdf"
    assert paths.find_mentioned(f"Summarize {report}!") == [report]
    assert paths.find_dropped(str(tmp_path / "old.py")) == [tmp_path / "old.py"]
    assert paths.find_dropped("old.py") == []
