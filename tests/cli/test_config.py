"""`mmtui config`: settings are shown with their problems, and edited."""

from pathlib import Path

import pytest

from mmtui.cli.doctor import _settings


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "VISUAL": "", "EDITOR": ""}


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    file = tmp_path / "config" / "mmtui" / "config.toml"
    file.parent.mkdir(parents=True)
    return file


def test_unknown_keys_and_actions_are_reported_by_show_and_doctor(
    mmtui, home, settings, monkeypatch
):
    settings.write_bytes('theme = "light"\n[keys]\nhelp = "Foo"\nxx = "F1"\n'.encode("utf-16"))
    run = mmtui("config", "show", "--json", env=home)
    assert (run.code, run.json["theme"]) == (0, "light")
    assert "no key 'Foo'" in run.err and "no action 'xx'" in run.err
    monkeypatch.setenv("XDG_CONFIG_HOME", home["XDG_CONFIG_HOME"])
    finding = _settings()
    assert finding.state == "note" and "no key 'Foo'" in finding.detail
    assert "no action" in finding.detail
    settings.write_text("theme = 1")
    assert _settings().state == "bad"
    settings.write_text('[keys]\nhelp = "F1"')
    assert (_settings().state, _settings().detail) == ("ok", str(settings))


@pytest.mark.parametrize(
    ("editor", "code", "error"),
    [
        ("ed 'x", 2, "EDITOR has a quote that is not closed: ed 'x"),
        ("/no/such/editor", 2, "EDITOR: /no/such/editor can't be started: No such file"),
        ("false", 1, "ended with exit code 1"),
        (" ", 2, "no editor is set"),
    ],
)
def test_an_editor_that_does_not_work_is_reported_in_one_line(mmtui, home, editor, code, error):
    run = mmtui("config", "edit", env=home | {"EDITOR": editor})
    assert (run.code, run.out) == (code, "")
    assert run.err.startswith("error: ") and error in run.err and run.err.count("\n") == 2


def test_the_path_of_an_editor_may_have_spaces(mmtui, home, tmp_path):
    program = tmp_path / "my editor"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    file = tmp_path / "config" / "mmtui" / "config.toml"
    run = mmtui("config", "edit", env=home | {"EDITOR": str(program)})
    assert (run.code, run.out) == (0, f"{file}\n"), run.err
    run = mmtui("config", "edit", env=home | {"VISUAL": f"'{program}' --wait", "EDITOR": "false"})
    assert (run.code, run.out) == (0, f"--wait {file}\n"), run.err


def test_settings_below_a_regular_file_are_empty_and_can_t_be_written(mmtui, home, tmp_path):
    (tmp_path / "config").touch()
    assert mmtui("config", "show", "--json", env=home).json["model"] == "auto"
    run = mmtui("config", "edit", env=home | {"EDITOR": "true"})
    assert run.code == 1 and "settings can't be written: " in run.err and "XDG_CONFIG" in run.err
