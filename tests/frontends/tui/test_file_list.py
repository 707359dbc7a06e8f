"""The list of files after an @, and the filter of the picker."""

import threading

import pytest
from user import get_staged_names, open_chat, run_async

from mmtui.chat.file_finder import FileRanking
from mmtui.frontends.tui.screens.picker import FileTree, Picker
from mmtui.frontends.tui.widgets import file_list
from mmtui.frontends.tui.widgets.file_list import FileList, find_typed_mention, format_mention


@pytest.fixture
def folder(cat, monkeypatch):
    """A folder with "a cat.png", two documents and a hidden file."""
    (cat.parent / "docs").mkdir()
    (cat.parent / "docs" / "report.md").write_text("The report.")
    (cat.parent / "docs" / "notes.md").write_text("The notes.")
    (cat.parent / "docs" / ".secret.md").write_text("Hidden.")
    monkeypatch.chdir(cat.parent)
    return cat.parent


async def wait_until(user, is_true) -> None:
    """Let the app work until a condition holds; the test's timeout limits it."""
    while not is_true():
        await user.settle()


def files(user) -> FileList:
    return user.app.screen.query_one(FileList)


def listed(user) -> list[str]:
    return [option.id for option in files(user).query_one("FileOptions").options]


def delay_ranking(monkeypatch: pytest.MonkeyPatch, delayed: str) -> threading.Event:
    """Have the files for a query ranked only once the event that this returns is set."""
    can_end, rank = threading.Event(), FileRanking.rank

    def rank_slowly(self, files, query, limit):
        if query == delayed:
            can_end.wait()
        return rank(self, files, query, limit)

    monkeypatch.setattr(FileRanking, "rank", rank_slowly)
    return can_end


@run_async
async def test_a_file_is_chosen_while_a_message_is_typed(folder, store):
    async with open_chat(store) as user:
        await user.type("Is @rprt")
        await wait_until(user, lambda: listed(user) == ["docs/report.md"])
        assert files(user).display and "docs/report.md" in user.screen
        await user.press("enter")
        assert user.composer.text == "Is @docs/report.md " and not files(user).display
        await user.type("about @cat")
        await wait_until(user, lambda: listed(user) == ["a cat.png"])
        await wait_until(user, lambda: user.app.screen.query("#file-preview HalfcellImage"))
        await user.press("tab")
        assert user.composer.text == 'Is @docs/report.md about @"a cat.png" '
        assert not user.model.asked


@run_async
async def test_the_arrows_move_in_the_list_a_click_chooses_and_escape_closes_it(folder, store):
    async with open_chat(store) as user:
        await user.type("@md")
        await wait_until(user, lambda: len(listed(user)) == 2)
        first, second = listed(user)
        await user.press("down", "enter")
        assert user.composer.text == f"@{second} "
        await user.type("and @md")
        await wait_until(user, lambda: files(user).display)
        await user.press("escape")
        assert not files(user).display and user.composer.text == f"@{second} and @md"
        await user.type("x", "backspace")
        assert not files(user).display
        await user.type(" @md")
        await wait_until(user, lambda: files(user).display)
        await user.pilot.click("FileOptions", offset=(3, 0))
        await user.settle()
        assert user.composer.text == f"@{second} and @md @{first} " and user.composer.has_focus


@run_async
async def test_a_file_is_chosen_from_the_list_of_what_is_typed(folder, store, monkeypatch):
    """A person who types faster than a large folder is searched."""
    is_typed = delay_ranking(monkeypatch, "no")
    async with open_chat(store) as user:
        try:
            await user.type("@")
            await wait_until(user, lambda: len(listed(user)) == 3)
            await user.type("no", "enter")
            assert user.composer.text == "@no"
        finally:
            is_typed.set()
        await wait_until(user, lambda: user.composer.text != "@no")
        assert user.composer.text == "@docs/notes.md " and not user.model.asked


@run_async
async def test_a_file_that_replaces_another_is_found(folder, store, monkeypatch):
    """While it is typed, the folder is searched again, and has as many files as before."""
    can_end, walk_files = threading.Event(), file_list.walk_files

    def walk_slowly(*arguments):
        yield from walk_files(*arguments)
        can_end.wait()

    monkeypatch.setattr(file_list, "walk_files", walk_slowly)
    monkeypatch.setattr(file_list, "SEARCH_AGAIN_AFTER_S", -1.0)
    async with open_chat(store) as user:
        can_end.set()
        await user.type("@rep")
        await wait_until(user, lambda: listed(user) == ["docs/report.md"])
        await user.press("enter")
        (folder / "docs" / "report.md").rename(folder / "docs" / "repair.md")
        can_end.clear()
        try:
            await user.type("and @rep")
            await wait_until(user, lambda: files(user).display)
        finally:
            can_end.set()
        await wait_until(user, lambda: listed(user) == ["docs/repair.md"])


@run_async
async def test_enter_sends_what_turns_out_to_match_no_file(folder, store, monkeypatch):
    is_typed = delay_ranking(monkeypatch, "noz")
    async with open_chat(store) as user:
        try:
            await user.type("@no")
            await wait_until(user, lambda: listed(user) == ["docs/notes.md"])
            await user.type("z", "enter")
            assert user.composer.text == "@noz" and not user.model.asked
        finally:
            is_typed.set()
        await wait_until(user, lambda: user.model.asked)
        assert user.model.asked[0][-1].text == "@noz" and user.composer.text == ""


@run_async
async def test_a_path_that_is_complete_and_text_that_was_not_typed_open_no_list(folder, store):
    async with open_chat(store) as user:
        await user.load_model()
        user.composer.replace_all("what is @docs")
        await user.settle()
        assert not files(user).display
        user.composer.replace_all("")
        await user.type("@docs/notes.md")
        await wait_until(user, lambda: listed(user) == [])
        assert not files(user).display
        await user.press("enter")
        await wait_until(user, lambda: user.model.asked)
        assert "The notes." in user.model.asked[0][-1].text


@run_async
async def test_the_picker_filters_and_attaches_the_files_that_are_marked(folder, store):
    async with open_chat(store) as user:
        await user.load_model()
        await user.press("f2")
        picker = user.app.screen
        assert isinstance(picker, Picker)
        await user.type("cat")
        await wait_until(user, lambda: listed(user) == ["a cat.png"])
        assert not picker.query_one(FileTree).display
        await user.press("space")
        assert "● a cat.png" in user.screen and "1 marked" in user.screen
        await user.press("space", "enter")
        assert get_staged_names(user) == ["a cat.png"]
        await user.type("/file", "enter")
        for name in ("notes", "report"):
            await user.type(name)
            await wait_until(user, lambda name=name: listed(user) == [f"docs/{name}.md"])
            await user.press("space")
            await user.press(*["backspace"] * len(name))
        assert user.app.screen.query_one(FileTree).display
        await user.type("notes")
        await wait_until(user, lambda: listed(user) == ["docs/notes.md"])
        await user.press("enter")
        await wait_until(user, lambda: len(get_staged_names(user)) == 3)
        assert sorted(get_staged_names(user)) == ["a cat.png", "notes.md", "report.md"]


@pytest.mark.parametrize(
    ("before", "found"),
    [
        ("@", (0, "")),
        ("see @docs/re", (4, "docs/re")),
        ("(@ca", (1, "ca")),
        ('see @"a ca', (4, "a ca")),
        ("mail me@example", None),
        ("@done then", None),
        ("@/etc", None),
        ("@~/pictures", None),
        ("@../x", None),
    ],
)
def test_a_mention_is_recognized_before_the_cursor(before, found):
    assert find_typed_mention(before) == found


@pytest.mark.parametrize(
    ("path", "mention"),
    [("a.png", "@a.png"), ("a b.png", '@"a b.png"'), ('a "b".png', "@'a \"b\".png'")],
)
def test_names_with_spaces_are_quoted(path, mention):
    assert format_mention(path) == mention
