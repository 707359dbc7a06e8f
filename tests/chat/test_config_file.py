"""Changes of single values in the settings file."""

import tomllib
from pathlib import Path

import pytest

from mmtui.chat.config import Config
from mmtui.chat.config_file import save_settings, set_values
from mmtui.chat.config_template import TEMPLATE
from mmtui.errors import MmtuiError


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", 'theme = "light"\n'),
        ('theme = "dark"', 'theme = "light"'),
        ("  theme='dark'  # at night\r\n", '  theme="light"  # at night\r\n'),
        ('#theme = "dark"\na = "b"', '#theme = "dark"\ntheme = "light"\na = "b"'),
        ('a = 1\n[keys]\ntheme = "F4"\n', 'a = 1\ntheme = "light"\n[keys]\ntheme = "F4"\n'),
    ],
)  # fmt: skip
def test_a_value_is_replaced_and_everything_else_stays(before, after):
    assert set_values(before, {"theme": "light"}) == after


@pytest.mark.parametrize("text", ['theme = """\ndark"""\n', 'x = """\ntheme = "dark"\n"""', "= 1"])
def test_what_can_not_be_changed_safely_is_refused(text):
    with pytest.raises(MmtuiError, match="theme can't be changed"):
        set_values(text, {"theme": "light"})


def test_names_with_quotes_are_escaped():
    name = 'The "best" mic \\ é'
    assert tomllib.loads(set_values(TEMPLATE, {"microphone": name})) == {"microphone": name}


def test_whether_something_is_shown_is_a_boolean():
    shown = set_values(TEMPLATE, {"sidebar": True})
    assert tomllib.loads(shown) == {"sidebar": True}
    assert set_values(shown, {"sidebar": False}) == shown.replace(
        "sidebar = true", "sidebar = false"
    )


def test_the_file_is_created_with_its_explanations_and_then_read(tmp_path: Path):
    file = tmp_path / "new" / "config.toml"
    save_settings({"theme": "contrast", "voice": "emma"}, file)
    assert (Config.load(file).theme, Config.load(file).voice) == ("contrast", "emma")
    assert file.read_text("utf-8").startswith("# Settings of mmtui.")


def test_a_link_to_the_file_stays(tmp_path: Path):
    target, link = tmp_path / "dotfiles.toml", tmp_path / "config.toml"
    target.write_text('theme = "dark"\n')
    link.symlink_to(target)
    save_settings({"theme": "light"}, link)
    assert link.is_symlink() and target.read_text() == 'theme = "light"\n'
