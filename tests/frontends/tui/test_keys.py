"""Keys: remapping, the help screen and the documentation."""

from pathlib import Path

from user import open_chat, run_async

from mmtui.chat.commands import COMMANDS
from mmtui.frontends.tui import keymap
from mmtui.frontends.tui.keys import format_keys, parse_key
from mmtui.frontends.tui.screens.help import HelpScreen

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "keys.md"


@run_async
async def test_remapped_keys_work_and_are_shown_by_the_help(tmp_path):
    mine = {"record": "ctrl+b", "send": "ctrl+s", "newline": "enter"}
    async with open_chat(tmp_path, size=(110, 50), keys=mine) as user:
        await user.press("ctrl+b")
        assert "recording" in user.screen
        await user.press("escape")
        await user.type("a", "enter", "b", "ctrl+s")
        assert user.texts[0] == "a\nb"
        await user.press("f1")
        record = next(line for line in user.screen.splitlines() if "finish recording" in line)
        assert "Ctrl+B" in record and "F4" not in record
        await user.press("f1")
        assert user.notices == []


@run_async
async def test_keys_can_be_written_as_in_the_documentation(tmp_path):
    mine = {"record": "Ctrl+B", "send": "Ctrl-S, F4", "newline": "Return", "help": "Page Up"}
    async with open_chat(tmp_path, size=(110, 50), keys=mine | {"page_up": "F1"}) as user:
        await user.type("a", "enter", "b", "ctrl+s")
        assert user.texts[0] == "a\nb"
        await user.press("pageup")
        assert "Ctrl+B" in user.screen and "Ctrl+S, F4" in user.screen
        assert user.notices == []


@run_async
async def test_invalid_keys_are_reported_and_the_default_stays(tmp_path):
    mine = {"recrod": "f5", "copy": "Ctrl+I", "stop": "F2", "help": "Crtl+B"}
    async with open_chat(tmp_path, keys=mine) as user:
        both, unknown, alike, none = user.notices
        assert "f2 is both 'image' and 'stop' on anywhere" in both
        assert "no action 'recrod'" in unknown and "nearest is 'record'" in unknown
        assert "ctrl+i is the same as tab" in alike
        assert "no key 'Crtl+B' for the action 'help'" in none and "written F1, Ctrl+B" in none
        await user.press("f1")
        assert isinstance(user.app.screen, HelpScreen)


@run_async
async def test_the_help_screen_shows_keys_and_names_in_one_line(tmp_path):
    async with open_chat(tmp_path, size=(80, 120)) as user:
        await user.press("f1")
        for row in keymap.list_help({}):
            lines = [line for line in user.screen.splitlines() if f" {row.id} " in line]
            assert any(f"│  {row.keys} " in line for line in lines), row


@run_async
async def test_the_help_screen_shows_long_commands_in_one_line(tmp_path):
    async with open_chat(tmp_path, size=(80, 250)) as user:
        await user.press("f1")
        lines = [line.strip(" │") for line in user.screen.splitlines()]
        for command in COMMANDS:
            usage = f"/{command.name} {command.argument}".strip()
            assert any(line == usage or line.startswith(f"{usage} ") for line in lines), usage


def test_keys_are_parsed_in_every_common_spelling():
    spellings = {
        "escape": ["Esc", "ESCAPE"], "enter": ["Return", "enter"], "delete": ["Del"],
        "pagedown": ["PageDown", "Page Down", "page_down", "Pagedown", "PgDn"], "f12": ["F12"],
        "alt+v": ["Alt+V", "Option+v", "alt-V"], "ctrl+pageup": ["Ctrl+PageUp", "control + pgup"],
        "ctrl+shift+p": ["Ctrl+Shift+P", "shift+ctrl+p"], "up": ["Up Arrow", "Up", "ArrowUp"],
        "e": ["e", "E"], "E": ["Shift+E"], "question_mark": ["?", "Question Mark"],
        "ctrl+plus": ["Ctrl++", "Ctrl+Plus"], "minus": ["-"], "ctrl+minus": ["Ctrl--"],
    }  # fmt: skip
    for name, written in spellings.items():
        assert [parse_key(key) for key in written] == [name] * len(written)
    for nothing in ("", "Crtl+B", "F99", "Foo", "Ctrl+", "+B", "b b", "<any>"):
        assert parse_key(nothing) is None, nothing
    for _, binding in keymap.list_bindings():  # as the table of the documentation has them
        assert keymap.parse_keymap({binding.id: format_keys(binding.key)}) == {
            binding.id: binding.key
        }


def test_ids_of_bindings_are_unique_and_include_all_commands_with_keys():
    names = [binding.id for _, binding in keymap.list_bindings()]
    assert len(names) == len(set(names))
    assert {command.name for command in COMMANDS if command.keys} <= set(names)
    used = [key for _, binding in keymap.list_bindings() for key in binding.key.split(",")]
    assert not {"ctrl+i", "ctrl+m"} & set(used)


def test_the_documentation_has_the_current_keys():
    """`python -m mmtui.frontends.tui.keymap` prints them."""
    page = PAGE.read_text("utf-8")
    assert keymap.bindings_to_markdown() in page
    assert keymap.commands_to_markdown() in page


def test_the_default_key_of_the_sidebar_gives_way_to_the_settings():
    mine = {"record": "F4, Ctrl+B"}
    assert list(keymap.find_problems(mine)) == []
    rows = {row.id: row.keys for row in keymap.list_help(keymap.parse_keymap(mine))}
    assert (rows["record"], rows["sidebar"]) == ("F4, Ctrl+B", "")
    rows = {row.id: row.keys for row in keymap.list_help({})}
    assert rows["sidebar"] == "Ctrl+B"
    problems = [problem for problem, _ in keymap.find_problems({"sidebar": "F4"})]
    assert problems == ["f4 is both 'record' and 'sidebar' on anywhere"]
