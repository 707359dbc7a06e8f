"""Files below a folder, found by parts of their names."""

import pytest

from mmtui.chat.file_finder import FileRanking, FoundFile, rank_files, walk_files


@pytest.fixture
def folder(tmp_path):
    names = (
        "cat.png", "notes.md", "program.exe", ".hidden.png", "docs/Überblick.pdf", "docs/a b.txt",
        "docs/deep/cat nap.jpg", ".git/config.txt", "node_modules/x.js", "bad\nname.png",
    )  # fmt: skip
    for name in names:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    (tmp_path / "docs" / "circle").symlink_to(tmp_path)
    (tmp_path / "link.png").symlink_to(tmp_path / "cat.png")
    (tmp_path / "broken.png").symlink_to(tmp_path / "none.png")
    return tmp_path


def walk(folder, suffixes=frozenset({".png", ".md", ".pdf", ".txt", ".jpg", ".js"})):
    return list(walk_files(folder, set(suffixes), lambda: False))


def test_near_files_come_first_and_hidden_ones_and_links_to_folders_are_skipped(folder):
    assert [file.path for file in walk(folder)] == [
        "cat.png", "link.png", "notes.md", "docs/a b.txt", "docs/Überblick.pdf",
        "docs/deep/cat nap.jpg",
    ]  # fmt: skip


def test_a_search_can_be_cancelled_and_a_folder_may_be_missing(folder):
    assert list(walk_files(folder, {".png"}, lambda: True)) == []
    assert walk(folder / "none") == []


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("cat", "cat.png"),
        ("nap", "docs/deep/cat nap.jpg"),
        ("uber", "docs/Überblick.pdf"),
        ("docs/a", "docs/a b.txt"),
        ("ntmd", "notes.md"),
        ("", "cat.png"),
    ],
)
def test_files_are_found_by_parts_and_by_characters_in_their_order(folder, query, best):
    assert rank_files(walk(folder), query, 10)[0] == best


def test_files_without_the_characters_do_not_match_and_the_best_are_kept(folder):
    assert rank_files(walk(folder), "zebra", 10) == []
    many = [FoundFile(path, path) for path in (f"folder/{n}/cat.png" for n in range(1000))]
    assert rank_files(many, "cat", 3) == [f"folder/{n}/cat.png" for n in range(3)]


def test_a_query_that_grows_finds_what_the_whole_query_finds(folder):
    files, ranking = walk(folder), FileRanking()
    for query in ("d", "do", "docs", "docs p", "docs", "c", "", "cat", "cat.", "ca"):
        assert ranking.rank(files, query, 10) == rank_files(files, query, 10)
    ranking.rank(files, "x", 10)
    added = [*files, FoundFile("xcat.png", "xcat.png")]
    assert ranking.rank(added, "xc", 10) == ["xcat.png"]


def test_names_with_many_equal_characters_are_compared_quickly():
    """A pattern that backtracks would take years."""
    name = "0" * 200
    assert rank_files([FoundFile(name, name)], "0" * 30 + "1", 10) == []
