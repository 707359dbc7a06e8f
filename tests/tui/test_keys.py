"""Keys: remapped in the settings, told by the help screen and by the README."""

from pathlib import Path

from user import awaited, opened

from mmtui.chat.commands import COMMANDS
from mmtui.tui import keys

README = Path(__file__).parents[2] / "README.md"


@awaited
async def test_keys_are_remapped_and_the_help_tells_them(tmp_path):
    mine = {"record": "ctrl+b", "send": "ctrl+s", "newline": "enter"}
    async with opened(tmp_path, size=(110, 50), keys=mine) as user:
        await user.press("ctrl+b")
        assert "recording" in user.screen
        await user.press("escape")
        await user.types("a", "enter", "b", "ctrl+s")
        assert user.texts[0] == "a\nb"
        await user.press("f1")
        record = next(line for line in user.screen.splitlines() if "speak: begin" in line)
        assert "Ctrl+B" in record and "F4" not in record
        await user.press("f1")
        assert user.told == []


@awaited
async def test_what_can_t_be_a_key_is_told(tmp_path):
    mine = {"recrod": "f5", "copy": "ctrl+i", "stop": "f2"}
    async with opened(tmp_path, keys=mine) as user:
        both, unknown, alike = user.told
        assert "f2 is both 'image' and 'stop' on anywhere" in both
        assert "no action 'recrod'" in unknown and "nearest is 'record'" in unknown
        assert "ctrl+i can't be told from tab" in alike


def test_every_command_with_a_key_can_be_remapped_and_no_name_is_used_twice():
    names = [binding.id for _, binding in keys.bindings()]
    assert len(names) == len(set(names))
    assert {command.name for command in COMMANDS if command.keys} <= set(names)
    used = [key for _, binding in keys.bindings() for key in binding.key.split(",")]
    assert not {"ctrl+i", "ctrl+m"} & set(used)


def test_the_readme_has_the_keys_as_they_are():
    """`python -m mmtui.tui.keys` prints them."""
    assert keys.markdown() in README.read_text("utf-8")
