"""Settings: a file, the environment over it, and errors that name the cure."""

import tomllib

import pytest

from mmtui.chat.config import KEYS, TEMPLATE, Config, settled
from mmtui.errors import UsageError


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for key in KEYS:
        monkeypatch.delenv(f"MMTUI_{key.upper()}", raising=False)


def load(tmp_path, text: str) -> Config:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return Config.load(file)


def test_without_a_file_all_is_default(tmp_path):
    assert Config.load(tmp_path / "none.toml") == Config()


def test_the_file_is_overridden_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MMTUI_TEMPERATURE", "0.5")
    config = load(tmp_path, 'model = "phi2"\ntemperature = 1\n[keys]\nrecord = "f6"\n')
    assert (config.model, config.temperature, config.keys) == ("phi2", 0.5, {"record": "f6"})


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ('modle = "x"', "no setting 'modle'.*config.toml", "nearest is 'model'"),
        ("temperature = 99", "temperature in .*config.toml", "config edit"),
        ('theme = "blue"', "theme in", "config edit"),
        ("max_tokens = 0", "max_tokens in", "config edit"),
        ("model = ", "is no TOML", "config edit"),
        ("keys = 3", "keys in", "config edit"),
    ],
)
def test_what_can_t_be_is_told_with_its_place_and_cure(tmp_path, text, says, hint):
    with pytest.raises(UsageError, match=says) as told:
        load(tmp_path, text)
    assert hint in told.value.hint


def test_a_variable_that_can_t_be_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MMTUI_MAX_TOKENS", "many")
    with pytest.raises(UsageError, match="MMTUI_MAX_TOKENS"):
        load(tmp_path, "")


def test_the_template_documents_every_key_with_its_default(tmp_path):
    assert load(tmp_path, TEMPLATE) == Config()
    switched_on = "\n".join(
        line.removeprefix("#") if "=" in line and line.startswith("#") else line
        for line in TEMPLATE.replace("#[keys]", "[keys]").splitlines()
    )
    told = tomllib.loads(switched_on)
    assert tuple(told) == KEYS
    assert Config().changed(**(told | {"keys": {}})) == Config()


def test_what_a_command_says_comes_before_the_settings(monkeypatch):
    monkeypatch.setenv("MMTUI_ENGINE", "torch")
    monkeypatch.setenv("MMTUI_MODEL", "phi2")
    assert settled("auto") == ("phi2", "torch")
    assert settled("smol", "auto") == ("smol", "auto")
