"""Paths in every form in which terminals and people give them."""

import os
from pathlib import Path

import pytest

from mmtui.chat import commands, paths
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
        assert paths.pasted(text) == [cat], text
    assert paths.pasted(str(its)) == [its]
    assert paths.pasted(str(dog)) == [dog]


def test_several_paths_in_each_form(files):
    cat, dog, its = files
    quoted = f"'{cat}' {dog}"
    escaped = f"{cat}".replace(" ", "\\ ") + f" {dog}"
    uris = f"{cat.as_uri()}\n{its.as_uri()}"
    assert paths.pasted(quoted) == paths.pasted(escaped) == [cat, dog]
    assert paths.pasted(uris) == [cat, its]
    assert paths.pasted(f"{cat}\n{dog}\n") == [cat, dog]


def test_home_is_expanded(files, monkeypatch):
    monkeypatch.setenv("HOME", str(files[1].parent))
    assert paths.pasted("~/dog.jpg") == [files[1]]


def test_text_is_no_path(files, tmp_path):
    nothing = [
        "", "hello world", f"look at {files[1]}", str(tmp_path), "it's", "/no/such/file.png",
        "file://elsewhere/x.png", "http://[", "~nobody/x", "a\0b", "x" * 5000, "y" * 100_000,
    ]  # fmt: skip
    for text in nothing:
        assert paths.pasted(text) == [], text[:40]


def test_completion_goes_folder_by_folder(files, tmp_path):
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
    assert paths.dropped("dog.jpg") == [Path("dog.jpg")]
    assert paths.dropped("README.md") == paths.dropped("README.md dog.jpg") == []


def test_the_home_of_nobody_is_told():
    assert paths.typed("~/x.md") == Path.home() / "x.md"
    with pytest.raises(InputError, match="no such user"):
        paths.typed("~no-such-user/x.md")


def test_commands_are_told_from_messages_and_paths():
    image = commands.BY_NAME["image"]
    assert commands.parse("/image  a b.png ") == (image, "a b.png")
    assert commands.parse("/image") == (image, "")
    for text in ("image x", "/nothing", "/image\nx", "/home/x.png", ""):
        assert commands.parse(text) is None
    commands.refuse_meant("/home/x.png is a path")
    with pytest.raises(UsageError, match="no command /nothing"):
        commands.refuse_meant("/nothing at all")
    with pytest.raises(UsageError, match="/system takes one line"):
        commands.refuse_meant("/system Be brief.\nBe kind.")
