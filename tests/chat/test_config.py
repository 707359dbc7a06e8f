"""Settings: the file, environment variables that override it, and errors with hints."""

import tomllib

import pytest

from mmtui.chat.config import KEYS, Config, resolve_model
from mmtui.chat.config_template import TEMPLATE
from mmtui.errors import UsageError


@pytest.fixture(autouse=True)
def _unset_variables(monkeypatch):
    for key in KEYS:
        monkeypatch.delenv(f"MMTUI_{key.upper()}", raising=False)


def load(tmp_path, text: str) -> Config:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return Config.load(file)


def test_without_a_file_all_settings_have_their_defaults(tmp_path):
    assert Config.load(tmp_path / "none.toml") == Config()


def test_the_file_is_overridden_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MMTUI_TEMPERATURE", "0.5")
    config = load(tmp_path, 'model = "phi2"\ntemperature = 1\n[keys]\nrecord = "f6"\n')
    assert (config.model, config.temperature, config.keys) == ("phi2", 0.5, {"record": "f6"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('modle = "x"', "config.toml: line 1: there is no setting 'modle', the nearest is 'model'"),
        (
            "\ntemperature = 99",
            "config.toml: line 2: temperature should be less than or equal to 10",
        ),
        ('theme = "blue"', "theme should be 'dark', 'light', 'contrast' or 'terminal'"),
        ("max_tokens = 0", "max_tokens should be greater than or equal to 1"),
        ("keys = 3", "keys should be a valid dictionary"),
        (
            '# [keys]\n[keys]\nhelp = "F1"\nrecord = 5',
            "line 4: keys.record should be a valid string",
        ),
        ("\nmodel = smol", "config.toml, line 2, column 9: not valid TOML: invalid value"),
        ('model = "x', "config.toml, .*: not valid TOML"),
    ],
)
def test_an_invalid_setting_is_reported_with_its_line_and_a_hint(tmp_path, text, message):
    with pytest.raises(UsageError, match=message) as raised:
        load(tmp_path, text)
    assert "config edit" in (raised.value.hint or "")


def test_all_invalid_settings_are_reported_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MMTUI_MAX_TOKENS", "many")
    with pytest.raises(UsageError) as raised:
        load(tmp_path, 'modle = "x"\ntop_p = 2\ntheme = 1\n')
    message = str(raised.value)
    positions = [message.index(text) for text in ("line 1: ", "line 2: top_p", "line 3: theme")]
    assert positions == sorted(positions)
    assert "MMTUI_MAX_TOKENS: max_tokens should be a valid integer" in message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_file_is_read_in_any_encoding(tmp_path, encoding):
    file = tmp_path / "config.toml"
    file.write_bytes('system = "Réponds."\r\n'.encode(encoding))
    assert Config.load(file).system == "Réponds."


def test_settings_below_a_regular_file_count_as_empty(tmp_path):
    (tmp_path / "file").touch()
    assert Config.load(tmp_path / "file" / "mmtui" / "config.toml") == Config()


def test_a_binary_file_and_a_folder_are_refused(tmp_path):
    file = tmp_path / "config.toml"
    file.write_bytes(bytes(100))
    with pytest.raises(UsageError, match="is not text"):
        Config.load(file)
    with pytest.raises(UsageError, match="can't be read: Is a directory"):
        Config.load(tmp_path)


def test_the_template_documents_every_key_with_its_default(tmp_path):
    assert load(tmp_path, TEMPLATE) == Config()
    uncommented = "\n".join(
        line.removeprefix("#") if "=" in line and line.startswith("#") else line
        for line in TEMPLATE.replace("#[keys]", "[keys]").splitlines()
    )
    defaults = tomllib.loads(uncommented)
    assert tuple(defaults) == KEYS
    assert Config().replace(**(defaults | {"keys": {}})) == Config()


def test_options_override_the_settings(monkeypatch):
    monkeypatch.setenv("MMTUI_ENGINE", "torch")
    monkeypatch.setenv("MMTUI_MODEL", "phi2")
    assert resolve_model("auto") == ("phi2", "torch")
    assert resolve_model("smol", "auto") == ("smol", "auto")
